"""What an operation on the bench came to, as values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from pulumi_embedded.model.events import Diagnostic, Event, Severity, StepEnded, StepFailed, StepView
from pulumi_embedded.model.outcome import Outcome
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import STACK_TYPE, urn_name
from pulumi_embedded.model.values import Properties, contains_secrets, unwrap
from pulumi_embedded.storage.checkpoint import Snapshot

__all__ = ["Resource", "Result", "Step", "UnexpectedResult"]


@dataclass(frozen=True)
class Resource:
    """A resource with its properties in plain text; `secrets` names those that are secret or hold one.

    What a preview cannot know is `UNKNOWN`. `state` has the rest of the state file.
    """

    urn: str
    type: str
    name: str
    id: str
    inputs: Properties
    outputs: Properties
    secrets: frozenset[str]
    state: ResourceState = field(repr=False)

    @classmethod
    def of(cls, state: ResourceState) -> Resource:
        """The view of a state."""
        return cls(
            state.urn,
            state.type,
            urn_name(state.urn),
            state.id,
            unwrap(state.inputs),
            unwrap(state.outputs),
            frozenset(
                key for bag in (state.inputs, state.outputs) for key, value in bag.items() if contains_secrets(value)
            ),
            state,
        )


@dataclass(frozen=True)
class Step:
    """A step that ended or failed. `op` is Pulumi's word: `same`, `create`, `update`, `delete`, `replace` and so on.

    `diff` says of every changed property how: `add`, `delete`, `update`, or one of them with `-replace`.
    """

    op: str
    urn: str
    type: str
    name: str
    old: Resource | None
    new: Resource | None
    diff: dict[str, str]
    failed: bool = False

    @classmethod
    def of(cls, view: StepView, *, failed: bool) -> Step:
        """The step that an event told of."""
        old, new = (Resource.of(state) if state else None for state in (view.old, view.new))
        return cls(str(view.op), view.urn, view.resource.type, urn_name(view.urn), old, new, _diff(view), failed)


_WHOLE = (Op.SAME, Op.CREATE, Op.DELETE, Op.DELETE_REPLACED)


def _diff(view: StepView) -> dict[str, str]:
    if view.detailed_diff is not None:
        return {path: str(difference.kind) for path, difference in view.detailed_diff.items()}
    if view.op in _WHOLE or view.old is None or view.new is None:
        return {}
    olds, news = unwrap(view.old.inputs), unwrap(view.new.inputs)
    # Some providers only say that there is a difference.
    changed = [key for key in olds | news if olds.get(key) != news.get(key) and not key.startswith("__")]
    kinds = {}
    for key in dict.fromkeys([*view.diffs, *view.keys]) or changed:
        kind = "add" if key not in olds else "delete" if key not in news else "update"
        kinds[key] = f"{kind}-replace" if key in view.keys else kind
    return kinds


Named = TypeVar("Named", Resource, Step)


@dataclass(frozen=True)
class Result:
    """What an operation did, in the order in which its steps ended, and what the state file says after it."""

    operation: str
    failed: bool
    cancelled: bool
    steps: list[Step]
    resources: list[Resource]
    outputs: Properties
    secrets: frozenset[str]
    diagnostics: list[Diagnostic]
    changes: dict[str, int]
    has_changes: bool

    @classmethod
    def of(cls, operation: str, outcome: Outcome, events: Iterable[Event], snapshot: Snapshot) -> Result:
        """The result that the events and the state tell."""
        events = list(events)
        steps = [
            Step.of(event.step, failed=isinstance(event, StepFailed))
            for event in events
            if isinstance(event, StepEnded | StepFailed)
        ]
        resources = [Resource.of(resource) for resource in snapshot.resources]
        stack = _stack(steps, resources)
        return cls(
            operation,
            outcome.failed,
            outcome.cancelled,
            steps,
            resources,
            stack.outputs if stack else {},
            stack.secrets if stack else frozenset(),
            [event for event in events if isinstance(event, Diagnostic) and _lasting(event)],
            {str(op): count for op, count in outcome.changes.items()},
            outcome.has_changes,
        )

    @property
    def errors(self) -> list[str]:
        """The messages of the errors."""
        return [diagnostic.message for diagnostic in self.diagnostics if diagnostic.severity is Severity.ERROR]

    def resource(self, name: str) -> Resource:
        """The one resource of this name, or of this `type::name`, in the state."""
        return _one(self.resources, name)

    def step(self, name: str) -> Step:
        """The one step on the resource of this name, or of this `type::name`."""
        return _one(self.steps, name)

    def ops(self, name: str) -> list[str]:
        """What was done to the resources of this name, or of this `type::name`, in order."""
        return [step.op for step in _all(self.steps, name)]


def _stack(steps: list[Step], resources: list[Resource]) -> Resource | None:
    """The stack as the operation left it, or as a preview expects it."""
    states = [*resources, *(step.new for step in steps if step.new)]
    return next((resource for resource in reversed(states) if resource.type == STACK_TYPE), None)


def _all(items: Iterable[Named], name: str) -> list[Named]:
    return [item for item in items if name in (item.urn, item.name, f"{item.type}::{item.name}")]


def _one(items: list[Named], name: str) -> Named:
    matching = _all(items, name)
    if len(matching) != 1:
        urns = "".join(f"\n  {item.urn}" for item in matching or items)
        raise LookupError(f"{name!r} is {len(matching)} of{urns}")
    return matching[0]


class UnexpectedResult(AssertionError):
    """The operation failed and was not to, or was to and did not; `result` has what it did."""

    def __init__(self, result: Result) -> None:
        self.result = result
        text = "failed" if result.failed else "was to fail, and did not"
        lines = (
            f"  {diagnostic.severity}: {diagnostic.message}{_where(diagnostic)}" for diagnostic in result.diagnostics
        )
        super().__init__("\n".join([f"{result.operation} {text}", *lines]))


def _lasting(diagnostic: Diagnostic) -> bool:
    return not diagnostic.ephemeral and diagnostic.severity is not Severity.DEBUG


def _where(diagnostic: Diagnostic) -> str:
    return f" ({urn_name(diagnostic.urn)})" if diagnostic.urn else ""
