"""The test bench: operations on a stack of its own, with the program in this process."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from pulumi_embedded.deployment.deployment import Deployment
from pulumi_embedded.model.events import Event
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.outcome import Outcome
from pulumi_embedded.model.values import Value
from pulumi_embedded.testing.place import Place, environment
from pulumi_embedded.testing.result import Resource, Result, UnexpectedResult
from pulumi_embedded.testing.stage import Program, Stage

__all__ = ["Engine"]

_PARALLEL = 16


class Engine:
    """A stack in a directory of its own, with its own state, configuration and passphrase.

    One operation runs at a time in a process, preferably in its main thread.

    Attributes:
        folder: The directory.
        project: The name of the project. A program's directory with a Pulumi.yaml has its own name and defaults.
        stack: The name of the stack.
        program: A function, a file or a directory. It can change between operations.
        config: The configuration, with `Secret` around secrets. It can change between operations.
        watch: Receives every event at once, in the engine's threads.

    """

    def __init__(self, folder: Path, *, project: str = "project", stack: str = "test") -> None:
        self.folder = folder
        self.project = project
        self.stack = stack
        self.program: Program | None = None
        self.config: dict[str, Value] = {}
        self.watch: Callable[[Event], None] = lambda event: None
        self._running: Deployment | None = None

    @property
    def state_file(self) -> Path:
        """The stack's state, as the Pulumi CLI would write it. It exists after the first operation."""
        return self._place().state_file

    @property
    def resources(self) -> list[Resource]:
        """The resources in the state."""
        place = self._place()
        return [Resource.of(resource) for resource in place.read(place.codec()).resources]

    def preview(
        self,
        *,
        targets: Sequence[str] = (),
        target_dependents: bool = False,
        replace: Sequence[str] = (),
        refresh: bool = False,
        parallel: int = _PARALLEL,
        expect_failure: bool = False,
    ) -> Result:
        """Return what `up` would do. Nothing is changed. Raises as `up` does."""
        options = Options(Kind.UPDATE, True, refresh, parallel, tuple(targets))
        options = dataclasses.replace(options, target_dependents=target_dependents, replaces=tuple(replace))
        return self._operate("preview", options, expect_failure)

    def up(
        self,
        *,
        targets: Sequence[str] = (),
        target_dependents: bool = False,
        replace: Sequence[str] = (),
        refresh: bool = False,
        parallel: int = _PARALLEL,
        expect_failure: bool = False,
    ) -> Result:
        """Bring the stack to the program's goal, without a preview.

        Args:
            targets: URNs of the resources to change. Empty for all.
            target_dependents: Whether to change the targets' dependents too.
            replace: URNs of resources to replace in any case.
            refresh: Whether to refresh first.
            parallel: How many steps run in parallel.
            expect_failure: Whether the operation must fail.

        Raises:
            UnexpectedResult: The operation failed or, with `expect_failure`, succeeded. The state contains what was
                done.
            EngineError: The operation could not begin.

        """
        options = Options(Kind.UPDATE, False, refresh, parallel, tuple(targets))
        options = dataclasses.replace(options, target_dependents=target_dependents, replaces=tuple(replace))
        return self._operate("up", options, expect_failure)

    def refresh(
        self,
        *,
        targets: Sequence[str] = (),
        parallel: int = _PARALLEL,
        clear_pending_creates: bool = False,
        expect_failure: bool = False,
    ) -> Result:
        """Set the state to what the providers read. The program does not run. Raises as `up` does."""
        options = Options(Kind.REFRESH, False, False, parallel, tuple(targets), clear_pending_creates)
        return self._operate("refresh", options, expect_failure)

    def destroy(
        self,
        *,
        targets: Sequence[str] = (),
        target_dependents: bool = False,
        refresh: bool = False,
        parallel: int = _PARALLEL,
        expect_failure: bool = False,
    ) -> Result:
        """Delete the resources in the state. The program does not run. Raises as `up` does."""
        options = Options(Kind.DESTROY, False, refresh, parallel, tuple(targets), target_dependents=target_dependents)
        return self._operate("destroy", options, expect_failure)

    def cancel(self) -> None:
        """Stop the running operation as Ctrl-C does. Running steps are completed, and no other step begins."""
        if self._running is not None:
            self._running.cancellation.cancel()

    def _place(self) -> Place:
        return Place.of(self.folder, self.program, self.project, self.stack)

    def _operate(self, operation: str, options: Options, expect_failure: bool) -> Result:
        place, events = self._place(), list[Event]()
        codec = place.codec()

        def hear(event: Event) -> None:
            events.append(event)
            self.watch(event)

        with environment():
            write = None if options.dry_run else partial(place.write, codec)
            stage = Stage(self.program)
            deployment = Deployment(place.target(self.config), options, place.read(codec), hear, write, stage.launch)
            outcome = self._run(deployment, stage)
        result = Result.of(operation, outcome, events, place.read(codec))
        if result.failed is not expect_failure:
            raise UnexpectedResult(result) from stage.error
        return result

    def _run(self, deployment: Deployment, stage: Stage) -> Outcome:
        self._running = deployment
        try:
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(deployment.run)
                running.add_done_callback(lambda _: stage.close())
                try:
                    stage.serve(lambda: deployment.cancellation.stopping)
                except BaseException:
                    deployment.cancellation.cancel()
                    raise
        finally:
            self._running = None
        outcome = running.result()
        if stage.error is not None and not isinstance(stage.error, Exception):
            # Ctrl-C, or pytest.fail in the program.
            raise stage.error
        return outcome
