"""Run decided steps, as many in parallel as allowed, and record each before and after it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from pulumi_embedded.deployment.executor import Protected, StepExecutor
from pulumi_embedded.deployment.reporter import Reporter
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import diff_objects
from pulumi_embedded.model.events import Severity, Status, StepView
from pulumi_embedded.model.graph import delete_order, held_by, repaired
from pulumi_embedded.model.options import Cancellation, Cancelled, Kind, Options, StepFailed
from pulumi_embedded.model.state import PendingOperation, ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.processes.answers import NoAnswer, PartialFailure, ProviderError
from pulumi_embedded.storage.journal import Journal
from pulumi_embedded.tracing import span

__all__ = ["StepRunner", "run_deletes", "run_refresh"]


class StepRunner:
    """Runs steps for many threads.

    After the first failure no step begins, and running steps are completed. With `--continue-on-error` only dependents
    of the failed resource are left out (Pulumi CLI 3.260).
    """

    def __init__(
        self,
        options: Options,
        executor: StepExecutor,
        journal: Journal,
        reporter: Reporter,
        cancellation: Cancellation,
        deleting: Callable[[], Collection[str]],
    ) -> None:
        self._options = options
        self._executor = executor
        self._journal = journal
        self._reporter = reporter
        self._cancellation = cancellation
        self._deleting = deleting
        self._places = threading.Semaphore(options.parallel)
        # A component is not complete before its outputs are registered.
        self.components: dict[str, Step] = {}
        self.failures: list[Step] = []
        # The URNs of failed steps, and of steps that did not begin because they depend on a failed one.
        self.undone: set[str] = set()

    @property
    def failed(self) -> bool:
        """Whether a step has failed."""
        return bool(self.failures)

    @property
    def stopping(self) -> bool:
        """Whether the operation is stopping, so that some steps do not run."""
        return self._cancellation.stopping

    def run_chain(self, steps: Sequence[Step]) -> None:
        """Run steps one after the other until one fails. Raises Cancelled if no step is allowed to begin."""
        for step in steps:
            if step.resource.all_dependencies() & self.undone:
                self.undone.add(step.urn)
                continue
            try:
                self.run(step)
            except StepFailed:
                if self._options.continue_on_error:
                    return
                raise

    def run(self, step: Step) -> None:
        """Run the step, and record it. Raises StepFailed if it failed, and Cancelled if no step is allowed to begin."""
        named = {"pulumi.urn": step.urn, "pulumi.operation": str(step.op)}
        with self._places, span(f"{step.op} {step.resource.type}", named):
            self._cancellation.check()
            self._reporter.started(step)
            self._journal.begin(step)
            try:
                result = self._executor.run(step, self._deleting())
            except PartialFailure as failure:
                shown = StepView.of(step)
                if step.op is Op.UPDATE and step.old is not None:
                    # With the old inputs, the next update finds the same difference.
                    step.resource.inputs = step.old.inputs
                self._journal.end(step, done=True)
                self._fail(step, failure, shown)
            except NoAnswer as error:
                self._journal.leave(step)
                self._fail(step, error)
            except Protected as error:
                # The other deletes continue.
                self._journal.end(step, done=False)
                self._tell(step, error)
            except EngineError as error:
                self._journal.end(step, done=False)
                if step.op is Op.REFRESH:
                    # A resource that cannot be read stays unchanged, and the others are read (Pulumi CLI 3.260).
                    self._tell(step, error)
                self._fail(step, error)
            except BaseException:
                self._journal.leave(step)
                self._cancellation.fail()
                raise
            self._journal.end(step, done=True)
        self._done(step, result)

    def _fail(self, step: Step, error: EngineError, shown: StepView | None = None) -> NoReturn:
        if not self._options.continue_on_error:
            self._cancellation.fail()
        self._tell(step, error, shown)

    def _tell(self, step: Step, error: EngineError, shown: StepView | None = None) -> NoReturn:
        prefix = "Preview failed: " if self._options.dry_run else ""
        self._reporter.diagnose(step.urn, Severity.ERROR, f"{prefix}{error}")
        if not self._options.dry_run:
            self._reporter.failed(shown or StepView.of(step), _status(step, error))
        self.failures.append(step)
        self.undone.add(step.urn)
        raise StepFailed("the step failed")

    def _done(self, step: Step, result: Op) -> None:
        shown = result if self._options.kind is Kind.REFRESH else step.op
        if step.op is not Op.READ or _reads_a_change(step):
            self._reporter.count(step.urn, shown)
        # In an update, the Pulumi CLI (3.260) does not report the end of a component's deletion after its replacement.
        ends = step.resource.custom or step.op in (Op.DELETE, Op.REFRESH)
        if ends or (step.new is None and self._options.dry_run):
            self._reporter.ended(step, shown)
        elif step.new is not None:
            self.components[step.urn] = step

    def run_all(self, steps: Sequence[Step]) -> None:
        """Run steps in parallel, and return when all have ended. Their failures were reported."""
        with ThreadPoolExecutor(max(1, min(len(steps), self._options.parallel))) as pool:
            futures = [pool.submit(self.run, step) for step in steps]
        for future in futures:
            error = future.exception()
            if error is not None and not isinstance(error, Cancelled):
                raise error

    def drain(self) -> None:
        """Return when no step runs any more. Waiting steps find the operation cancelled."""
        for _ in range(self._options.parallel):
            self._places.acquire()
        self._places.release(self._options.parallel)


def _status(step: Step, error: EngineError) -> Status:
    if isinstance(error, PartialFailure):
        return Status.PARTIAL_FAILURE
    # The Pulumi CLI (3.260) drops the status of a create that failed.
    dropped = step.op in (Op.CREATE, Op.CREATE_REPLACEMENT) and not isinstance(error, NoAnswer)
    return Status.UNKNOWN if isinstance(error, ProviderError) and error.unknown and not dropped else Status.OK


def _reads_a_change(step: Step) -> bool:
    """Return whether the resource was read before and has other outputs now."""
    return bool(step.old and step.new and diff_objects(step.old.outputs, step.new.outputs, internal=True))


def run_deletes(
    runner: StepRunner, cancellation: Cancellation, resources: Sequence[ResourceState], steps: Sequence[Step]
) -> None:
    """Run deletes in rounds. A round begins when the previous one has ended.

    A resource whose delete failed stays in the state with everything that it depends on. After a protected resource, or
    with `--continue-on-error`, the other deletes run (Pulumi CLI 3.260). Any other failure stops the operation.
    """
    step_of = {id(step.resource): step for step in steps}
    for batch in delete_order(resources, [step.resource for step in steps]):
        cancellation.check()
        undone = {id(step.old) for step in runner.failures}
        held = set[int]().union(*(held_by(resources, resource) for resource in resources if id(resource) in undone))
        runner.run_all([step_of[id(resource)] for resource in batch if id(resource) not in held])


def run_refresh(
    runner: StepRunner,
    journal: Journal,
    options: Options,
    resources: Sequence[ResourceState],
    chosen: Sequence[ResourceState],
) -> list[ResourceState]:
    """Refresh the chosen resources, and return all resources as they are now, without those that are gone."""
    steps = {id(resource): Step(Op.REFRESH, resource, resource.copy()) for resource in chosen}
    runner.run_all(list(steps.values()))
    current = [steps[id(resource)].new if id(resource) in steps else resource for resource in resources]
    refreshed = repaired(resource for resource in current if resource is not None)
    read = {key for key, step in steps.items() if not runner.stopping and step not in runner.failures}
    unread = {resource.urn for resource in resources if id(resource) not in read}

    def unsettled(operation: PendingOperation) -> bool:
        if operation.type == "creating":
            return not options.clear_pending_creates
        return operation.resource.urn in unread

    journal.drop_pending(unsettled)
    journal.rebase(refreshed)
    return refreshed
