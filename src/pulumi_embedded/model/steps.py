"""Decide the steps of one resource, from its old state, its new state and the provider's diff. Pure.

The rules are those of the Pulumi engine (3.260).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum

from pulumi_embedded.model.differ import ArrayDiff, ObjectDiff, ValueDiff
from pulumi_embedded.model.paths import Path, contains, parse_path, path_text
from pulumi_embedded.model.state import ResourceState

__all__ = [
    "Action",
    "Diff",
    "DiffKind",
    "Op",
    "PropertyDiff",
    "Step",
    "decide",
    "detailed_diff",
    "invert",
    "replacement_steps",
    "with_replace_on_changes",
]


class Op(StrEnum):
    """The operation of a step, with Pulumi's names."""

    SAME = "same"
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    REPLACE = "replace"
    CREATE_REPLACEMENT = "create-replacement"
    DELETE_REPLACED = "delete-replaced"
    READ = "read"
    READ_REPLACEMENT = "read-replacement"
    REFRESH = "refresh"
    READ_DISCARD = "discard"
    DISCARD_REPLACED = "discard-replaced"
    REMOVE_PENDING_REPLACE = "remove-pending-replace"
    IMPORT = "import"
    IMPORT_REPLACEMENT = "import-replacement"

    @property
    def imports(self) -> bool:
        """Whether the step takes a resource into the state that Pulumi did not create."""
        return self in (Op.IMPORT, Op.IMPORT_REPLACEMENT)

    @property
    def is_part(self) -> bool:
        """Whether the step is a part of a replacement, which is a step itself."""
        parts = (Op.CREATE_REPLACEMENT, Op.READ_REPLACEMENT, Op.IMPORT_REPLACEMENT)
        return self in (*parts, Op.DELETE_REPLACED, Op.DISCARD_REPLACED)


class DiffKind(StrEnum):
    """The kind of a property's difference, with Pulumi's names."""

    ADD = "add"
    ADD_REPLACE = "add-replace"
    DELETE = "delete"
    DELETE_REPLACE = "delete-replace"
    UPDATE = "update"
    UPDATE_REPLACE = "update-replace"

    @property
    def replaces(self) -> bool:
        """Whether the difference requires a replacement."""
        return self.value.endswith("-replace")

    @property
    def basic(self) -> DiffKind:
        """The kind without the replacement."""
        return DiffKind(self.value.removesuffix("-replace"))

    def to_replace(self) -> DiffKind:
        """Return the same kind with a replacement."""
        return DiffKind(f"{self.basic.value}-replace")


@dataclass(frozen=True)
class PropertyDiff:
    """One entry of a detailed diff. With `input_diff` it compares two inputs, otherwise an output with an input."""

    kind: DiffKind
    input_diff: bool = False


@dataclass(frozen=True)
class Diff:
    """A provider's answer. `changes` is None if the provider does not know."""

    changes: bool | None = None
    replaces: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    detailed: dict[str, PropertyDiff] | None = None
    delete_before_replace: bool = False

    @property
    def needs_replace(self) -> bool:
        """Whether the resource cannot be updated in place."""
        return bool(self.replaces) or any(difference.kind.replaces for difference in (self.detailed or {}).values())


class Action(Enum):
    """The decision about a registered resource."""

    SAME = "same"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE_THEN_REPLACE = "delete-then-replace"


@dataclass(eq=False)
class Step:
    """One operation on a resource. `old` is its state before, and `new` its state after it."""

    op: Op
    old: ResourceState | None
    new: ResourceState | None
    keys: tuple[str, ...] = ()
    diffs: tuple[str, ...] = ()
    detailed_diff: dict[str, PropertyDiff] | None = None
    # A replaced resource stays in the state until its replacement exists, as `delete` or `pendingReplacement`.
    pending_delete: bool = False
    pending_replacement: bool = False
    ignore_changes: list[str] = field(default_factory=list)
    # The resource that an import replaces. The import itself has no old state before it has read one.
    replaced: ResourceState | None = None
    # Whether the resource is no target: it stays unchanged, or is left out of the state if it is new.
    untargeted: bool = False

    @property
    def resource(self) -> ResourceState:
        """The new state, or the old one if there is no new one."""
        state = self.new or self.old
        assert state is not None  # noqa: S101 - a step has one of the two
        return state

    @property
    def urn(self) -> str:
        """The URN of the resource."""
        return self.resource.urn

    @property
    def left_out(self) -> bool:
        """Whether the resource is new and no target, so that nothing is done and the state lacks it."""
        return self.untargeted and self.old is None


def decide(old: ResourceState, diff: Diff, delete_before_replace: bool | None) -> Action:
    """Return the action for a resource in the state.

    Args:
        old: The resource.
        diff: The provider's answer.
        delete_before_replace: The resource option, which overrides the provider. None if it is not set.

    """
    if diff.changes or old.pending_replacement:
        if not (diff.needs_replace or old.pending_replacement):
            return Action.UPDATE
        first = diff.delete_before_replace if delete_before_replace is None else delete_before_replace
        return Action.DELETE_THEN_REPLACE if first else Action.REPLACE
    # A resource whose initialization failed is updated until it succeeds.
    return Action.UPDATE if old.init_errors else Action.SAME


def replacement_steps(
    action: Action,
    old: ResourceState,
    new: ResourceState,
    diff: Diff,
    condemned: Sequence[ResourceState] = (),
) -> list[Step]:
    """Return the steps of a replacement. The condemned dependents are deleted first, in reverse order."""
    why = (diff.replaces, diff.changed, diff.detailed)
    if action is Action.REPLACE:
        return [
            Step(Op.CREATE_REPLACEMENT, old, new, *why, pending_delete=True),
            Step(Op.REPLACE, old, new, *why),
        ]
    steps = [
        Step(Op.DELETE_REPLACED, resource, None, pending_replacement=not resource.delete)
        for resource in reversed(condemned)
    ]
    if not old.pending_replacement:
        steps.append(Step(Op.DELETE_REPLACED, old, None, pending_replacement=True))
    return [*steps, Step(Op.REPLACE, old, new, *why), Step(Op.CREATE_REPLACEMENT, old, new, *why)]


def with_replace_on_changes(diff: Diff, paths: Sequence[str], init_errors: bool = False) -> Diff:
    """Return the diff, in which every change at one of the paths requires a replacement."""
    if not paths or not (diff.changes or init_errors):
        return diff
    outer = [parse_path(path) for path in paths]

    def hit(name: str) -> bool:
        return any(contains(path, parse_path(name)) for path in outer)

    detailed = diff.detailed
    if detailed is not None:
        detailed = {
            key: replace(difference, kind=difference.kind.to_replace()) if hit(key) else difference
            for key, difference in detailed.items()
        }
    replaces = {*diff.replaces, *(key for key in diff.changed if hit(key))}
    if init_errors and hit("#initerror"):
        if detailed is not None:
            detailed["#initerror"] = PropertyDiff(DiffKind.UPDATE_REPLACE)
        return replace(diff, changes=True, replaces=(*sorted(replaces), "#initerror"), detailed=detailed)
    return replace(diff, replaces=tuple(sorted(replaces)), detailed=detailed)


def detailed_diff(diff: ObjectDiff) -> dict[str, PropertyDiff]:
    """Return the detailed diff of inputs that the engine has compared."""
    return {path_text(path): PropertyDiff(kind, input_diff=True) for path, kind in _object_kinds(diff)}


def _object_kinds(diff: ObjectDiff | ArrayDiff) -> Iterator[tuple[Path, DiffKind]]:
    for key, change in diff.updates.items():
        for path, kind in _value_kinds(change):
            yield (key, *path), kind
    yield from (((key,), DiffKind.ADD) for key in diff.adds)
    yield from (((key,), DiffKind.DELETE) for key in diff.deletes)


def _value_kinds(change: ValueDiff) -> Iterator[tuple[Path, DiffKind]]:
    inner = change.object or change.array
    if inner is not None:
        yield from _object_kinds(inner)
    else:
        yield (), DiffKind.ADD if change.old is None else DiffKind.DELETE if change.new is None else DiffKind.UPDATE


_INVERTED = {
    DiffKind.ADD: DiffKind.DELETE,
    DiffKind.DELETE: DiffKind.ADD,
    DiffKind.ADD_REPLACE: DiffKind.DELETE_REPLACE,
    DiffKind.DELETE_REPLACE: DiffKind.ADD_REPLACE,
}


def invert(diff: Diff) -> Diff:
    """Return the diff in the other direction: what a refresh found, from what the next update would change."""
    if diff.detailed is None:
        return diff
    return replace(
        diff,
        detailed={
            key: replace(difference, kind=_INVERTED.get(difference.kind, difference.kind))
            for key, difference in diff.detailed.items()
        },
    )
