"""The events of an operation. The displays use nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op, PropertyDiff, Step
from pulumi_embedded.model.values import ConfigValue

__all__ = [
    "Diagnostic",
    "Event",
    "EventSink",
    "Prelude",
    "Severity",
    "Status",
    "StepEnded",
    "StepFailed",
    "StepStarted",
    "StepView",
    "Summary",
    "SystemMessage",
]


class Severity(StrEnum):
    """The severity of a message. `info#err` is a program's standard error."""

    DEBUG = "debug"
    INFO = "info"
    INFO_ERROR = "info#err"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class StepView:
    """A step at the time of its event. It contains copies, so that later changes do not appear."""

    op: Op
    urn: str
    old: ResourceState | None
    new: ResourceState | None
    keys: tuple[str, ...] = ()
    diffs: tuple[str, ...] = ()
    detailed_diff: dict[str, PropertyDiff] | None = None

    @classmethod
    def of(cls, step: Step, op: Op | None = None) -> StepView:
        """Return the view of a step, under another operation if its result differs, as after a refresh."""
        # For the Pulumi CLI (3.260), the old state of a new resource that is left out is a copy of the new one.
        old = step.new if step.left_out else step.old
        return cls(
            op or step.op,
            step.urn,
            old.copy() if old else None,
            step.new.copy() if step.new else None,
            step.keys,
            step.diffs,
            step.detailed_diff,
        )

    @property
    def resource(self) -> ResourceState:
        """The new state, or the old one if there is no new one."""
        state = self.new or self.old
        assert state is not None  # noqa: S101 - a step has one of the two
        return state


@dataclass(frozen=True)
class Prelude:
    """The operation begins with this configuration."""

    config: dict[str, ConfigValue]


class Status(IntEnum):
    """What is known of a resource after a failed step. The numbers are those of the Pulumi CLI's events (3.260)."""

    OK = 0
    PARTIAL_FAILURE = 1
    UNKNOWN = 2


@dataclass(frozen=True)
class StepStarted:
    """A step begins."""

    step: StepView


@dataclass(frozen=True)
class StepEnded:
    """A step succeeded."""

    step: StepView


@dataclass(frozen=True)
class StepFailed:
    """A step failed. A diagnostic contains the reason."""

    step: StepView
    status: Status


@dataclass(frozen=True)
class Diagnostic:
    """A message about a resource or, if the URN is empty, about the stack. An ephemeral one is only shown live."""

    urn: str
    severity: Severity
    message: str
    ephemeral: bool = False
    stream: int = 0


@dataclass(frozen=True)
class SystemMessage:
    """A line of the engine that belongs to no resource."""

    text: str


@dataclass(frozen=True)
class Summary:
    """The numbers of steps by their kind, and the duration in seconds."""

    changes: dict[Op, int] = field(default_factory=dict)
    seconds: float = 0.0


Event = Prelude | StepStarted | StepEnded | StepFailed | Diagnostic | SystemMessage | Summary
EventSink = Callable[[Event], None]
