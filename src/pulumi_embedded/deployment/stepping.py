"""Carries out decided steps, so many at once as allowed, and records each before and after."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

from pulumi_embedded.deployment.executor import Protected, StepExecutor
from pulumi_embedded.deployment.reporter import Reporter
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import diff_objects
from pulumi_embedded.model.events import Severity
from pulumi_embedded.model.graph import delete_order, needs_of, repaired
from pulumi_embedded.model.options import Cancellation, Cancelled, Kind, Options, StepFailed
from pulumi_embedded.model.state import PendingOperation, ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.processes.answers import NoAnswer, PartialFailure
from pulumi_embedded.storage.journal import Journal
from pulumi_embedded.tracing import span

__all__ = ["StepRunner", "run_deletes", "run_refresh"]


class StepRunner:
    """Runs steps for many threads.

    After the first failure none begins any more, and those that run are waited for. With `--continue-on-error` only
    what depends on the failed resource is left out (Pulumi CLI 3.260).
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
        # Components wait for their outputs before they count as done.
        self.components: dict[str, Step] = {}
        self.failures: list[Step] = []
        # The URNs of what failed, and of what was not begun because it depends on that.
        self.undone: set[str] = set()

    @property
    def failed(self) -> bool:
        """Whether a step has failed."""
        return bool(self.failures)

    @property
    def stopping(self) -> bool:
        """Whether some of what was to be carried out may not have been."""
        return self._cancellation.stopping

    def run_chain(self, steps: Sequence[Step]) -> None:
        """Carry steps out one after the other, up to one that fails; raises Cancelled if nothing more may begin."""
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
        """Carry the step out and record it; raises StepFailed if it failed, Cancelled if nothing more may begin."""
        named = {"pulumi.urn": step.urn, "pulumi.operation": str(step.op)}
        with self._places, span(f"{step.op} {step.resource.type}", named):
            self._cancellation.check()
            self._reporter.started(step)
            self._journal.begin(step)
            try:
                result = self._executor.run(step, self._deleting())
            except PartialFailure as failure:
                self._journal.end(step, done=True)
                self._fail(step, failure)
            except NoAnswer as error:
                self._journal.leave(step)
                self._fail(step, error)
            except Protected as error:
                # The other deletes go on.
                self._journal.end(step, done=False)
                self._tell(step, error)
            except EngineError as error:
                self._journal.end(step, done=False)
                if step.op is Op.REFRESH:
                    # What could not be read stays as it is, and the others are read (Pulumi CLI 3.260).
                    self._tell(step, error)
                self._fail(step, error)
            except BaseException:
                self._journal.leave(step)
                self._cancellation.fail()
                raise
            self._journal.end(step, done=True)
        self._done(step, result)

    def _fail(self, step: Step, error: EngineError) -> NoReturn:
        if not self._options.continue_on_error:
            self._cancellation.fail()
        self._tell(step, error)

    def _tell(self, step: Step, error: EngineError) -> NoReturn:
        prefix = "Preview failed: " if self._options.dry_run else ""
        self._reporter.diagnose(step.urn, Severity.ERROR, f"{prefix}{error}")
        if not self._options.dry_run:
            self._reporter.failed(step)
        self.failures.append(step)
        self.undone.add(step.urn)
        raise StepFailed("the step failed")

    def _done(self, step: Step, result: Op) -> None:
        shown = result if self._options.kind is Kind.REFRESH else step.op
        if step.op is not Op.READ or _reads_a_change(step):
            self._reporter.count(step.urn, shown)
        if step.resource.custom or step.new is None or step.op is Op.REFRESH:
            self._reporter.ended(step, shown)
        else:
            self.components[step.urn] = step

    def run_all(self, steps: Sequence[Step]) -> None:
        """Carries steps out side by side and returns when all have ended; failures have been told then."""
        with ThreadPoolExecutor(max(1, min(len(steps), self._options.parallel))) as pool:
            futures = [pool.submit(self.run, step) for step in steps]
        for future in futures:
            error = future.exception()
            if error is not None and not isinstance(error, Cancelled):
                raise error

    def drain(self) -> None:
        """Returns when no step is running any more; those that wait for their turn find the operation over."""
        for _ in range(self._options.parallel):
            self._places.acquire()
        self._places.release(self._options.parallel)


def _reads_a_change(step: Step) -> bool:
    """Whether the resource was read before and has other outputs now."""
    return bool(step.old and step.new and diff_objects(step.old.outputs, step.new.outputs, internal=True))


def run_deletes(
    runner: StepRunner, cancellation: Cancellation, resources: Sequence[ResourceState], steps: Sequence[Step]
) -> None:
    """Run the steps in rounds; a round begins when the one before has ended.

    A resource whose step failed stays in the state with all that it depends on. The other deletes are carried out if it
    is a protected one, or with `--continue-on-error` (Pulumi CLI 3.260). Any other failure stops everything.
    """
    step_of = {id(step.resource): step for step in steps}
    for batch in delete_order(resources, [step.resource for step in steps]):
        cancellation.check()
        undone = {id(step.old) for step in runner.failures}
        needed = needs_of(resources, [resource for resource in resources if id(resource) in undone])
        runner.run_all([step_of[id(resource)] for resource in batch if id(resource) not in needed])


def run_refresh(
    runner: StepRunner,
    journal: Journal,
    options: Options,
    resources: Sequence[ResourceState],
    chosen: Sequence[ResourceState],
) -> list[ResourceState]:
    """Refreshes the chosen ones of the resources and gives all of them as they are now, the vanished left out."""
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
