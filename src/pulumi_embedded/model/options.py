"""The options of one operation, and its cancellation."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from pulumi_embedded.errors import EngineError

if TYPE_CHECKING:
    from pulumi_embedded.model.plan import UpdatePlan

__all__ = ["Cancellation", "Cancelled", "Kind", "Options", "StepFailed"]


class Kind(StrEnum):
    """The kinds of operations, with Pulumi's names."""

    UPDATE = "update"
    REFRESH = "refresh"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Options:
    """The options of an operation. Empty targets mean every resource."""

    kind: Kind
    dry_run: bool
    refresh: bool = False
    parallel: int = 16
    targets: tuple[str, ...] = ()
    clear_pending_creates: bool = False
    target_dependents: bool = False
    replaces: tuple[str, ...] = ()
    continue_on_error: bool = False
    excludes: tuple[str, ...] = ()
    exclude_dependents: bool = False
    # A saved plan that the operation must follow.
    plan: UpdatePlan | None = None


class Cancelled(EngineError):
    """The operation is being stopped, so no further step begins."""


class StepFailed(Cancelled):
    """A step failed, and its error was reported."""


class Cancellation:
    """Stops an operation between steps, after the first failure or when the user asks."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self.by_user = False

    def fail(self) -> None:
        """Stop because a step failed. Running steps are completed."""
        self._stop()

    def cancel(self) -> None:
        """Stop because the user asked for it."""
        self.by_user = True
        self._stop()

    def _stop(self) -> None:
        self._event.set()
        for act in self._callbacks:
            act()

    def on_stop(self, act: Callable[[], None]) -> None:
        """Call `act` when the operation stops, or at once if it is stopping already."""
        self._callbacks.append(act)
        if self._event.is_set():
            act()

    @property
    def stopping(self) -> bool:
        """Whether no further step is allowed to begin."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if no further step is allowed to begin."""
        if self._event.is_set():
            raise Cancelled("the operation is being stopped")
