"""The result of an operation on the test bench, as values."""

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
    """A resource with its properties in plain text. A value that a preview cannot know is `UNKNOWN`.

    Attributes:
        secrets: The names of properties that are secret or contain a secret.
        state: The resource in the state file, with all other fields.

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
        """Return the view of a state."""
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
    """A completed or failed step.

    Attributes:
        op: Pulumi's name of the operation: `same`, `create`, `update`, `delete`, `replace` and others.
        diff: The change of each property: `add`, `delete`, `update`, or one of them with `-replace`.

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
        """Return the step of an event."""
        old, new = (Resource.of(state) if state else None for state in (view.old, view.new))
        return cls(str(view.op), view.urn, view.resource.type, urn_name(view.urn), old, new, _diff(view), failed)


_WHOLE = (Op.SAME, Op.CREATE, Op.DELETE, Op.DELETE_REPLACED)


def _diff(view: StepView) -> dict[str, str]:
    if view.detailed_diff is not None:
        return {path: str(difference.kind) for path, difference in view.detailed_diff.items()}
    if view.op in _WHOLE or view.old is None or view.new is None:
        return {}
    olds, news = unwrap(view.old.inputs), unwrap(view.new.inputs)
    # Some providers only report that a difference exists.
    changed = [key for key in olds | news if olds.get(key) != news.get(key) and not key.startswith("__")]
    kinds = {}
    for key in dict.fromkeys([*view.diffs, *view.keys]) or changed:
        kind = "add" if key not in olds else "delete" if key not in news else "update"
        kinds[key] = f"{kind}-replace" if key in view.keys else kind
    return kinds


Named = TypeVar("Named", Resource, Step)


@dataclass(frozen=True)
class Result:
    """The result of an operation: its steps in the order of their end, and the resources in the state after it."""

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
        """Return the result from the events and the state."""
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
        """Return the only resource with this name or `type::name` in the state."""
        return _one(self.resources, name)

    def step(self, name: str) -> Step:
        """Return the only step of the resource with this name or `type::name`."""
        return _one(self.steps, name)

    def ops(self, name: str) -> list[str]:
        """Return the operations on the resources with this name or `type::name`, in order."""
        return [step.op for step in _all(self.steps, name)]


def _stack(steps: list[Step], resources: list[Resource]) -> Resource | None:
    """Return the stack after the operation, or as a preview expects it."""
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
    """The operation failed unexpectedly, or succeeded although it had to fail. `result` contains what it did."""

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
