"""One operation on one stack: check → diff → step → record for what the program registers, then the deletes.

Whatever happens, every step that ended is in the journal; what was begun and did not end is there as pending.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

from pulumi_embedded.deployment.cascade import ResourceError
from pulumi_embedded.deployment.default_providers import default_provider
from pulumi_embedded.deployment.executor import StepExecutor
from pulumi_embedded.deployment.generator import StepGenerator
from pulumi_embedded.deployment.registry import ProviderRegistry
from pulumi_embedded.deployment.reporter import Reporter
from pulumi_embedded.deployment.stepping import StepRunner
from pulumi_embedded.errors import EngineError
from pulumi_embedded.events import Diagnostic, EventSink, Prelude, Severity, Summary
from pulumi_embedded.goals import Goal
from pulumi_embedded.graph import delete_order, repaired
from pulumi_embedded.options import Cancellation, Cancelled, Kind, Options, Target
from pulumi_embedded.outcome import Outcome
from pulumi_embedded.processes.answers import CheckFailure
from pulumi_embedded.processes.monitor import served
from pulumi_embedded.processes.plugins import PluginHost
from pulumi_embedded.processes.runner import Launch
from pulumi_embedded.processes.watchdog import Watchdog
from pulumi_embedded.state import ResourceState
from pulumi_embedded.steps import Op, Step
from pulumi_embedded.storage.checkpoint import Snapshot
from pulumi_embedded.storage.journal import Journal
from pulumi_embedded.urns import STACK_TYPE, make_urn
from pulumi_embedded.values import Properties

__all__ = ["Deployment"]


class Deployment:
    """Runs one operation; what the program, the plugins and the user's Ctrl-C do to it arrives from many threads."""

    def __init__(
        self,
        target: Target,
        options: Options,
        snapshot: Snapshot,
        sink: EventSink,
        write: Callable[[Snapshot], None] | None,
        launch: Launch,
    ) -> None:
        self.target = target
        self.cancellation = Cancellation()
        self._options = options
        self._launch = launch
        self._base = snapshot
        self._journal = Journal(snapshot, write)
        self._deciding = threading.Lock()
        self._signals: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._over = threading.Event()
        self._watchdog = Watchdog()
        self._abandon: list[Callable[[], None]] = []
        self._defaults: dict[str, ResourceState] = {}
        self._stack_outputs: Properties | None = None
        self._failed = False
        self._finished_cleanly = False
        project, stack = target.project.name, target.stack
        self._stack_urn = make_urn(stack, project, "", STACK_TYPE, f"{project}-{stack}")
        self._reporter = Reporter(sink, self._stack_urn)

    def run(self) -> Outcome:
        """Does the operation; errors are told to the sink and make the outcome a failed one."""
        begun = time.monotonic()
        self._reporter.tell(Prelude(dict(self.target.config)))
        with served(self) as address:
            project = self.target.project
            watch = self._watchdog.watch
            host = PluginHost(address, project.program_folder, project.python(), self._say_plugin, watch)
            self._abandon.append(host.kill)
            try:
                self._run_with(host, address)
            finally:
                self._over.set()
                host.close()
                self._watchdog.close()
        self._finish_stack()
        self._reporter.tell(Summary(self._reporter.changes, time.monotonic() - begun))
        return Outcome(self._reporter.changes, self._failed, self.cancellation.by_user)

    def abandon(self) -> None:
        """Ends the plugins and the program at once; what they were doing stays in the state as pending."""
        for end in self._abandon:
            end()

    def _run_with(self, host: PluginHost, address: str) -> None:
        folder = str(self.target.project.program_folder)
        self._registry = ProviderRegistry(host, address, folder)
        self._runner = StepRunner(
            self._options,
            StepExecutor(self._registry, dry_run=self._options.dry_run),
            self._journal,
            self._reporter,
            self.cancellation,
            lambda: self._generator.deleting,
        )
        self._registry.remember(self._base.resources)
        self._registry.start_ahead()
        try:
            self._phases(address)
        except EngineError as error:
            self.fail(error)
        finally:
            self._drain()
        if self._runner.failed or self.cancellation.by_user:
            what = "preview" if self._options.dry_run else "update"
            how = "failed" if self._runner.failed else "canceled"
            self._reporter.diagnose("", Severity.ERROR, f"{what} {how}")
        self._failed = self._failed or not self._finished_cleanly or self._generator.errored

    def _drain(self) -> None:
        if not self._finished_cleanly:
            self.cancellation.fail()
        with self._deciding:
            self._runner.drain()

    def _phases(self, address: str) -> None:
        resources = self._base.resources
        self._generator = self._new_generator(resources)
        if self._options.refresh or self._options.kind is Kind.REFRESH:
            resources = self._refresh(resources)
            self._generator = self._new_generator(resources)
            self._registry.remember(resources)
        elif self._base.pending_operations and not self._options.dry_run:
            self._reporter.warn_of_pending(self._base.pending_operations)
        self.cancellation.check()
        if self._options.kind is Kind.UPDATE:
            self._run_program(address, resources)
        elif self._options.kind is Kind.DESTROY:
            self._delete_all(resources)
        self.cancellation.check()
        self._finished_cleanly = not self._failed

    def _new_generator(self, resources: list[ResourceState]) -> StepGenerator:
        return StepGenerator(self.target, self._options, self._registry, resources, self._reporter.diagnose)

    def _run_program(self, address: str, resources: list[ResourceState]) -> None:
        program = self._launch(self.target, self._options, address, self._reporter.line, self._program_exited)
        if program.pid is not None:
            self._watchdog.watch(program.pid)
        self._abandon.append(program.kill)
        self.cancellation.on_stop(lambda: self._signals.put("stop"))
        try:
            signal = self._signals.get()
            if signal == "failed" and not self._reporter.error_seen:
                self._reporter.diagnose("", Severity.ERROR, "Program exited with a non-zero exit code")
            if signal == "failed":
                self._failed = True
            elif signal == "finished":
                self._delete_all(resources)
            self._over.set()
            if signal == "finished" and not self.cancellation.stopping:
                program.wait()
        finally:
            self._over.set()
            program.stop()

    def _program_exited(self, code: int) -> None:
        self._signals.put("finished" if code == 0 else "failed")

    def program_finished(self) -> None:
        """The program has registered everything; returns when the operation is over."""
        self._signals.put("finished")
        self._over.wait()

    def register(self, goal: Goal) -> ResourceState:
        """Makes one resource what the program wants; returns when it is."""
        with self._deciding:
            self.cancellation.check()
            self._resolve_provider(goal)
            steps = self._generator.steps(goal)
        for step in steps:
            self._runner.run(step)
        state = steps[-1].new or steps[0].new
        assert state is not None  # noqa: S101 - a registration ends with a new state
        return state

    def read(self, goal: Goal, id_: str) -> ResourceState:
        """Reads a resource that the program does not own."""
        with self._deciding:
            self.cancellation.check()
            self._resolve_provider(goal)
            state = ResourceState(
                urn=self._generator.urn(goal),
                type=goal.type,
                custom=True,
                id=id_,
                outputs=goal.inputs,
                parent=goal.parent,
                external=True,
                dependencies=goal.dependencies,
                provider=goal.provider,
                additional_secret_outputs=goal.additional_secret_outputs,
            )
            steps = self._generator.read(state)
        for step in steps:
            self._runner.run(step)
        return state

    def invoke(
        self, token: str, arguments: Properties, provider: str, version: str
    ) -> tuple[Properties | None, list[CheckFailure]]:
        """Calls a provider's function."""
        goal = Goal(token, "", True, {}, provider=provider, version=version)
        with self._deciding:
            self.cancellation.check()
            self._resolve_provider(goal)
        return self._registry.get(goal.provider).invoke(token, arguments, self._options.dry_run)

    def _resolve_provider(self, goal: Goal) -> None:
        """Names the provider of the resource, registering the package's default one where none is named."""
        default = default_provider(goal, self.target.config)
        if default is None:
            return
        known = self._defaults.get(default.name + default.type)
        if known is None:
            steps = self._generator.steps(default)
            for step in steps:
                self._runner.run(step)
            known = self._defaults[default.name + default.type] = steps[-1].resource
        goal.provider = known.reference

    def register_outputs(self, urn: str, outputs: Properties) -> None:
        """Records a component's outputs; the stack's own are taken at the end, when it is known how it went."""
        if urn == self._stack_urn:
            self._stack_outputs = outputs
            return
        step = self._runner.components.get(urn)
        if step is None:
            raise EngineError(f"cannot complete a resource '{urn}' whose registration isn't pending")
        self._complete_component(step, outputs)

    def _complete_component(self, step: Step, outputs: Properties) -> None:
        step.resource.outputs = outputs
        self._journal.changed()
        self._reporter.ended(step)

    def _finish_stack(self) -> None:
        """After an error, an output that the program did not get to keeps its old value."""
        step = self._runner.components.get(self._stack_urn)
        if step is None or self._stack_outputs is None:
            return
        old = step.old.outputs if step.old and self._failed else {}
        self._complete_component(step, {**old, **self._stack_outputs})

    def _delete_all(self, resources: list[ResourceState]) -> None:
        """Deletes what the program no longer has, dependents first; a round begins when the one before has ended."""
        with self._deciding:
            self.cancellation.check()
            steps = {id(step.resource): step for step in self._generator.deletes()}
        condemned = [step.resource for step in steps.values()]
        for batch in delete_order(resources, condemned):
            self.cancellation.check()
            self._runner.run_all([steps[id(each)] for each in batch])

    def _refresh(self, resources: list[ResourceState]) -> list[ResourceState]:
        """Reads every resource and takes what is found as the state to start from."""
        steps = {
            id(each): Step(Op.REFRESH, each, each.copy()) for each in resources if self._options.targeted(each.urn)
        }
        self._runner.run_all(list(steps.values()))
        found = [steps[id(each)].new if id(each) in steps else each for each in resources]
        refreshed = repaired(each for each in found if each is not None)
        keep_creates = not self._options.clear_pending_creates
        self._journal.drop_pending(lambda each: keep_creates and each.type == "creating")
        self._journal.rebase(refreshed)
        self.cancellation.check()
        return refreshed

    def fail(self, error: EngineError) -> None:
        """Stops the operation because of an error that no step has told of yet."""
        if not isinstance(error, Cancelled):
            urn = error.urn if isinstance(error, ResourceError) else ""
            if str(error):
                self._reporter.diagnose(urn, Severity.ERROR, str(error))
            self._failed = True
        self.cancellation.fail()

    def log(self, urn: str, severity: Severity, message: str, *, ephemeral: bool, stream: int) -> None:
        """Takes a message of the program or a plugin."""
        if not self._over.is_set() or severity is not Severity.DEBUG:
            self._reporter.tell(Diagnostic(urn, severity, message, ephemeral, stream))

    def _say_plugin(self, text: str, is_error: bool) -> None:
        # What a plugin complains of while it is being ended helps nobody.
        if not self._over.is_set():
            self._reporter.line(text, is_error)
