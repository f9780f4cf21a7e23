"""One operation on one stack: check, compare, run and record each registration of the program, then the deletes.

Whatever happens, the journal contains every completed step, and every step that began and did not end as pending.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Sequence

from pulumi_embedded.deployment.cascade import ResourceError
from pulumi_embedded.deployment.default_providers import DefaultProviders
from pulumi_embedded.deployment.executor import StepExecutor
from pulumi_embedded.deployment.generator import StepGenerator
from pulumi_embedded.deployment.registry import ProviderRegistry
from pulumi_embedded.deployment.reporter import Reporter
from pulumi_embedded.deployment.stepping import StepRunner, run_deletes, run_refresh
from pulumi_embedded.deployment.targeting import require_known
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.events import Diagnostic, EventSink, Prelude, Severity, Summary
from pulumi_embedded.model.goals import Goal
from pulumi_embedded.model.options import Cancellation, Cancelled, Kind, Options
from pulumi_embedded.model.outcome import Outcome
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Step
from pulumi_embedded.model.urns import STACK_TYPE, make_urn
from pulumi_embedded.model.values import UNKNOWN_SENTINEL, Properties
from pulumi_embedded.processes.answers import CheckFailure
from pulumi_embedded.processes.builtin import BuiltinProvider
from pulumi_embedded.processes.monitor import served
from pulumi_embedded.processes.plugins import PluginHost
from pulumi_embedded.processes.runner import Launch
from pulumi_embedded.processes.sockets import socket_folder
from pulumi_embedded.processes.watchdog import Watchdog
from pulumi_embedded.storage.checkpoint import Snapshot
from pulumi_embedded.storage.journal import Journal
from pulumi_embedded.storage.target import Target
from pulumi_embedded.tracing import remembered, span

__all__ = ["Deployment", "Registered"]


class Registered:
    """The resources of this run whose registration or read has ended."""

    def __init__(self) -> None:
        self._states: dict[str, ResourceState] = {}

    def add(self, state: ResourceState) -> ResourceState:
        """Add a resource, and return it."""
        self._states[state.urn] = state
        return state

    def find(self, urn: str) -> ResourceState | None:
        """Return the resource as it is now. None if it is not registered."""
        return self._states.get(urn)

    def unmade(self, urns: Iterable[str]) -> bool:
        """Return whether a resource, or a child of a component, does not exist yet. Unknown URNs do not count."""
        states = list(self._states.values())
        wanted = set(urns)
        for state in states:
            if state.parent in wanted and not self._states[state.parent].custom:
                wanted.add(state.urn)
        return any(state.urn in wanted and state.custom and state.id in ("", UNKNOWN_SENTINEL) for state in states)


# The SDK's message (3.272) after an operation was stopped, which is not an error of the program.
_STOPPED = "Resource monitor has terminated, shutting down"


class Deployment:
    """Runs one operation. The program, the plugins and Ctrl-C call it from many threads."""

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
        self._defaults = DefaultProviders(target.config)
        self._registered = Registered()
        # The registrations, for children that inherit options.
        self._goals: dict[str, Goal] = {}
        self._stack_outputs: Properties | None = None
        self._failed = False
        self._program_failure: str | None = None
        self._finished_cleanly = False
        project, stack = target.project.name, target.stack
        self._stack_urn = make_urn(stack, project, "", STACK_TYPE, f"{project}-{stack}")
        self._reporter = Reporter(sink, self._stack_urn)

    def run(self) -> Outcome:
        """Run the operation. The sink receives its errors, which make the outcome a failure.

        Raises:
            EngineError: An operation without a program names a target that is not in the state. Nothing was done.

        """
        options, target = self._options, self.target
        name = "preview" if options.dry_run else str(options.kind)
        with remembered(name, {"pulumi.project": target.project.name, "pulumi.stack": target.stack}) as operation:
            outcome = self._run()
            operation.add({"pulumi.result": "failed" if outcome.failed else "succeeded"})
        return outcome

    def _run(self) -> Outcome:
        begun = time.monotonic()
        require_known(self._options, self._base.resources)
        self._reporter.tell(Prelude(dict(self.target.config)))
        with socket_folder() as sockets, served(self, sockets) as address:
            project, watch = self.target.project, self._watchdog.watch
            self._watchdog.remove(sockets)
            host = PluginHost(address, sockets, project.program_folder, project.python(), self._say_plugin, watch)
            self._abandon.append(host.kill)
            try:
                self._run_with(host, address)
            finally:
                self._over.set()
                host.close()
                self._watchdog.close()
        self._finish_stack()
        self._require_planned()
        self._journal.close()
        self._reporter.tell(Summary(self._reporter.changes, time.monotonic() - begun))
        plan = self._generator.constraint.plan()
        return Outcome(self._reporter.changes, self._failed, self.cancellation.by_user, plan)

    def _require_planned(self) -> None:
        """Report planned steps that did not happen, unless the operation failed."""
        for urn in self._generator.missing() if not self._failed else ():
            self._reporter.diagnose(urn, Severity.ERROR, f"expected resource operations for {urn} but none were seen")
            self._failed = True

    def abandon(self) -> None:
        """End the plugins and the program at once. Their running steps remain in the state as pending."""
        for end in self._abandon:
            end()

    def _run_with(self, host: PluginHost, address: str) -> None:
        folder = str(self.target.project.program_folder)
        builtin = BuiltinProvider(self.target.outputs_of, self._registered.find, self._reporter.diagnose)
        self._registry = ProviderRegistry(host, address, folder, builtin)
        self._runner = StepRunner(
            self._options,
            StepExecutor(self._registry, self._reporter.diagnose, dry_run=self._options.dry_run),
            self._journal,
            self._reporter,
            self.cancellation,
            lambda: self._generator.deleting,
        )
        self._registry.remember(self._base.resources)
        self._registry.start_ahead(self._base.resources)
        try:
            self._phases(address)
        except EngineError as error:
            self.fail(error)
        finally:
            self._drain()
        failed = self._runner.failed or self._generator.errored
        # After another failure that ended the operation, the CLI (3.260) reports this only if a step ended it, too.
        if (failed and not (self._options.continue_on_error and self._failed)) or self.cancellation.by_user:
            verb = "preview" if self._options.dry_run else "update"
            how = "failed" if failed else "canceled"
            self._reporter.diagnose("", Severity.ERROR, f"{verb} {how}")
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
        self._reporter.require_targets(self._generator.targeting.unknown_replacements())
        if self._options.kind is Kind.UPDATE:
            self._run_program(address, resources)
        elif self._options.kind is Kind.DESTROY:
            self._delete_all(resources)
        self.cancellation.check()
        self._finished_cleanly = not (self._failed or self._runner.failed)

    def _new_generator(self, resources: list[ResourceState]) -> StepGenerator:
        return StepGenerator(self.target, self._options, self._registry, resources, self._reporter.diagnose)

    def _run_program(self, address: str, resources: list[ResourceState]) -> None:
        program = self._launch(self.target, self._options, address, self._reporter.line, self._program_exited)
        if program.pid is not None:
            self._watchdog.watch(program.pid)
        self._abandon.append(program.kill)
        self.cancellation.on_stop(lambda: self._signals.put("stop"))
        try:
            with span("program"):
                signal = self._signals.get()
            if signal == "failed" and self._program_failure:
                self._reporter.diagnose("", Severity.ERROR, self._program_failure)
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

    def _program_exited(self, failure: str | None) -> None:
        self._program_failure = failure
        self._signals.put("finished" if failure is None else "failed")

    def program_finished(self) -> None:
        """Note that the program has registered everything. Return when the operation is over."""
        self._signals.put("finished")
        self._over.wait()

    def register(self, goal: Goal) -> ResourceState:
        """Bring one resource to the program's goal, and return its state when that is done."""
        with span(f"register {goal.type}", {"pulumi.type": goal.type, "pulumi.name": goal.name}):
            return self._register(goal)

    def _register(self, goal: Goal) -> ResourceState:
        with self._deciding:
            self.cancellation.check()
            if parent := self._goals.get(goal.parent):
                goal.inherit(parent)
            self._resolve_provider(goal)
            steps = self._generator.steps(goal)
        state = self._carry_out(steps)
        if steps[0].op.imports and not self.undone(state.urn):
            with self._deciding:
                self.cancellation.check()
                steps = self._generator.after_import(goal, state)
            state = self._carry_out(steps) if steps else state
        self._goals[state.urn] = goal
        return self._registered.add(state)

    def _carry_out(self, steps: list[Step]) -> ResourceState:
        self._runner.run_chain(steps)
        return steps[-1].resource

    def undone(self, urn: str) -> bool:
        """Return whether the resource's step failed, or did not begin because it depends on a failed one."""
        return urn in self._runner.undone

    def left_out(self, urn: str) -> bool:
        """Return whether the resource is new and no target, so that its state is not known."""
        return urn in self._generator.targeting.skipped

    def read(self, goal: Goal, id_: str) -> ResourceState:
        """Read a resource that the program does not own, and return its state."""
        with self._deciding:
            self.cancellation.check()
            self._resolve_provider(goal)
            state = goal.external_state(self._generator.urn(goal), id_)
            steps = self._generator.read(state)
        self._carry_out(steps)
        return self._registered.add(state)

    def invoke(
        self, token: str, arguments: Properties, provider: str, version: str, depends_on: Sequence[str] = ()
    ) -> tuple[Properties | None, list[CheckFailure]]:
        """Call a provider's function.

        Args:
            token: The name of the function.
            arguments: Its arguments.
            provider: The reference of the provider. Empty for the default one.
            version: The version of the default provider.
            depends_on: The URNs that the call depends on.

        Returns:
            The result, None if a resource that the call depends on does not exist yet, and the failures.

        """
        goal = Goal(token, "", True, {}, provider=provider, version=version)
        with self._deciding:
            self.cancellation.check()
            self._resolve_provider(goal)
        if self._registered.unmade(depends_on):
            return None, []
        return self._registry.get(goal.provider).invoke(token, arguments, self._options.dry_run)

    def _resolve_provider(self, goal: Goal) -> None:
        self._defaults.resolve(goal, lambda default: self._carry_out(self._generator.steps(default)))

    def register_outputs(self, urn: str, outputs: Properties) -> None:
        """Record a component's outputs. Those of the stack are recorded at the end, when the result is known.

        Raises:
            ResourceError: The component's registration is not pending, or the outputs differ from the plan.

        """
        if urn == self._stack_urn:
            self._stack_outputs = outputs
            return
        step = self._runner.components.get(urn)
        if step is None:
            raise ResourceError(urn, f"cannot complete a resource '{urn}' whose registration isn't pending")
        self._complete_component(step, outputs)

    def _complete_component(self, step: Step, outputs: Properties) -> None:
        if step.left_out:
            return
        if not self._failed:
            olds = step.old.outputs if step.old and step.old.urn == step.urn else {}
            self._generator.constraint.completed(step.urn, olds, outputs)
        step.resource.outputs = outputs
        self._journal.changed()
        self._reporter.ended(step)

    def _finish_stack(self) -> None:
        """Record the stack's outputs. After an error, outputs that the program did not set keep their old values."""
        step = self._runner.components.get(self._stack_urn)
        if step is None or self._stack_outputs is None:
            return
        old = step.old.outputs if step.old and self._failed else {}
        try:
            self._complete_component(step, {**old, **self._stack_outputs})
        except ResourceError as error:
            self.fail(error)

    def _delete_all(self, resources: list[ResourceState]) -> None:
        """Delete the resources that the program no longer has."""
        with self._deciding:
            self.cancellation.check()
            self._failed = self._reporter.refuse_targets(self._generator.unknown_targets()) or self._failed
            keeps, goes = self._generator.deletes()
        for step in keeps:
            self._runner.run(step)
        run_deletes(self._runner, self.cancellation, resources, goes)

    def _refresh(self, resources: list[ResourceState]) -> list[ResourceState]:
        if resources:
            # The targets of an empty stack are created by the program later.
            self._reporter.require_targets(self._generator.unknown_targets())
            self._reporter.require_targets(self._generator.targeting.unknown_excludes())
        chosen = self._generator.targeting.refreshed(resources)
        refreshed = run_refresh(self._runner, self._journal, self._options, resources, chosen)
        if self._runner.failed:
            self.cancellation.fail()
        self.cancellation.check()
        return refreshed

    def fail(self, error: EngineError) -> None:
        """Stop the operation because of an error that no step has reported."""
        if not isinstance(error, Cancelled):
            urn = error.urn if isinstance(error, ResourceError) else ""
            if str(error):
                self._reporter.diagnose(urn, Severity.ERROR, str(error))
            self._failed = True
        self.cancellation.fail()

    def log(self, urn: str, severity: Severity, message: str, *, ephemeral: bool, stream: int) -> None:
        """Report a message of the program or of a plugin."""
        if self.cancellation.stopping and message == _STOPPED:
            return
        if not self._over.is_set() or severity is not Severity.DEBUG:
            self._reporter.tell(Diagnostic(urn, severity, message, ephemeral, stream))

    def _say_plugin(self, text: str, is_error: bool) -> None:
        # A plugin's messages while it is being ended are not useful.
        if not self._over.is_set():
            self._reporter.line(text, is_error)
