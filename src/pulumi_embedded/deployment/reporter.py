"""Report what happens to the display, and count it. Many threads call it, and the display gets one event at a time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.events import (
    Diagnostic,
    Event,
    EventSink,
    Severity,
    Status,
    StepEnded,
    StepFailed,
    StepStarted,
    StepView,
)
from pulumi_embedded.model.state import PendingOperation
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.model.urns import PROVIDER_PREFIX, urn_name

__all__ = ["Reporter"]

# Parts of a replacement, which counts once, and steps before the operation proper.
_UNCOUNTED = {
    Op.CREATE_REPLACEMENT,
    Op.DELETE_REPLACED,
    Op.READ_REPLACEMENT,
    Op.DISCARD_REPLACED,
    Op.IMPORT_REPLACEMENT,
    Op.REFRESH,
    Op.REMOVE_PENDING_REPLACE,
}

_STDOUT = 1
_STDERR = 2


class Reporter:
    """The only path to the display. Default providers belong to the engine, and are not shown."""

    def __init__(self, sink: EventSink, stack_urn: str) -> None:
        self._sink = sink
        self._stack_urn = stack_urn
        self._lock = threading.RLock()
        self._changes: Counter[Op] = Counter()

    @property
    def changes(self) -> dict[Op, int]:
        """The number of completed steps of each kind."""
        return dict(self._changes)

    def tell(self, event: Event) -> None:
        """Pass an event on."""
        with self._lock:
            self._sink(event)

    def diagnose(self, urn: str, severity: Severity, message: str) -> None:
        """Report a message about a resource or, if the URN is empty, about the stack."""
        self.tell(Diagnostic(urn or self._stack_urn, severity, message))

    def line(self, text: str, is_error: bool) -> None:
        """Report a line that the program or a plugin printed."""
        if text.strip():
            # The CLI (3.260) also shows standard output and standard error separately.
            severity, stream = (Severity.INFO_ERROR, _STDERR) if is_error else (Severity.INFO, _STDOUT)
            self.tell(Diagnostic(self._stack_urn, severity, text, stream=stream))

    def warn_of_pending(self, operations: Sequence[PendingOperation]) -> None:
        """Report the steps of an earlier operation that began and have no recorded end, and what to do."""
        lines = "".join(
            f"  * {operation.resource.urn}, interrupted while {operation.type}\n" for operation in operations
        )
        self.diagnose(
            "",
            Severity.WARNING,
            f"Attempting to deploy or update resources with {len(operations)} pending operations from previous "
            f"deployment.\n{lines}These resources are in an unknown state because the engine was interrupted while "
            "waiting for changes to these resources to complete. Confirm whether the operations listed completed by "
            "looking at the provider, then run `pulumi-embedded refresh` (with --clear-pending-creates for those "
            "that were being created).",
        )

    def require_targets(self, unknown: Sequence[str]) -> None:
        """Report the targets that do not exist, and raise EngineError if there are any."""
        if self.refuse_targets(unknown):
            raise EngineError("")

    def refuse_targets(self, unknown: Sequence[str]) -> bool:
        """Report the targets that do not exist; return whether there are any."""
        for urn in unknown:
            hint = "" if "$" in urn else " Did you forget to escape $ in your shell?"
            self.diagnose("", Severity.ERROR, f"Target '{urn}' could not be found in the stack.{hint}")
        return bool(unknown)

    def started(self, step: Step) -> None:
        """Report that a step begins."""
        self._tell_step(StepStarted(StepView.of(step)))

    def failed(self, view: StepView, status: Status) -> None:
        """Report that a step failed."""
        self._tell_step(StepFailed(view, status))

    def ended(self, step: Step, op: Op | None = None) -> None:
        """Report that a step has ended and its outputs are known."""
        self._tell_step(StepEnded(StepView.of(step, op)))

    def _tell_step(self, event: StepStarted | StepEnded | StepFailed) -> None:
        # An earlier operation deleted this resource and reported it.
        if not _is_default_provider(event.step.urn) and event.step.op is not Op.REMOVE_PENDING_REPLACE:
            self.tell(event)

    def count(self, urn: str, op: Op) -> None:
        """Count a completed step."""
        if op not in _UNCOUNTED and not _is_default_provider(urn):
            with self._lock:
                self._changes[op] += 1


def _is_default_provider(urn: str) -> bool:
    return f"::{PROVIDER_PREFIX}" in urn and urn_name(urn).split("_", 1)[0] == "default"
