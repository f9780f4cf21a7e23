"""What one operation is to do, on which stack, and how it may be stopped."""

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
    """The operations; the values are Pulumi's own names."""

    UPDATE = "update"
    REFRESH = "refresh"
    DESTROY = "destroy"


@dataclass(frozen=True)
class Options:
    """How the operation runs; no targets means every resource."""

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
    # What the operation must keep to.
    plan: UpdatePlan | None = None


class Cancelled(EngineError):
    """The operation is being stopped; nothing new is begun."""


class StepFailed(Cancelled):
    """A step failed, and its error was reported."""


class Cancellation:
    """Stops an operation between steps: on the first failure, or when the user asks."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self.by_user = False

    def fail(self) -> None:
        """A step failed: let the running ones end and begin none."""
        self._stop()

    def cancel(self) -> None:
        """The user asked to stop."""
        self.by_user = True
        self._stop()

    def _stop(self) -> None:
        self._event.set()
        for act in self._callbacks:
            act()

    def on_stop(self, act: Callable[[], None]) -> None:
        """Calls `act` when there is a reason to stop, at once if there is one already."""
        self._callbacks.append(act)
        if self._event.is_set():
            act()

    @property
    def stopping(self) -> bool:
        """Whether nothing new may begin."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise Cancelled if nothing new may begin."""
        if self._event.is_set():
            raise Cancelled("the operation is being stopped")
