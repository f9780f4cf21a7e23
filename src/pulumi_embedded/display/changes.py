"""The changes of a step for people: its properties, and whether the step has a line."""

from __future__ import annotations

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import ArrayDiff, ObjectDiff, ValueDiff, diff_objects, diff_values
from pulumi_embedded.model.events import StepView
from pulumi_embedded.model.paths import Path, get_at, parse_path
from pulumi_embedded.model.steps import DiffKind, Op
from pulumi_embedded.model.urns import STACK_TYPE, is_provider_type, urn_type
from pulumi_embedded.model.values import UNKNOWN, Value

__all__ = ["is_only_in_state", "is_stack", "property_changes", "short_diff", "translate", "worth_a_line"]


def is_stack(view: StepView) -> bool:
    """Return whether the step is about the root stack."""
    return urn_type(view.urn) == STACK_TYPE


def is_only_in_state(view: StepView) -> bool:
    """Whether the step creates or deletes what no provider has: the stack, a component, or a provider itself."""
    return view.op in (Op.CREATE, Op.DELETE) and (not view.resource.custom or is_provider_type(urn_type(view.urn)))


def worth_a_line(view: StepView, *, sames: bool = False) -> bool:
    """Return whether the step is shown. An unchanged resource is shown if its protection changed, or with `sames`."""
    if view.op is not Op.SAME or sames:
        return True
    return view.old is not None and view.new is not None and view.old.protect != view.new.protect


def short_diff(view: StepView) -> str:
    """Return the names of the changed properties by sign, as in `diff: +a-b~c,d`. Empty without a change."""
    if view.old is None or view.new is None:
        return ""
    changes = None if view.op is Op.SAME else property_changes(view)
    updates = set(changes.updates) if changes else set()
    adds = set(changes.adds) if changes else set()
    deletes = set(changes.deletes) if changes else set()
    metadata = {name for name in ("provider", "protect") if getattr(view.old, name) != getattr(view.new, name)}
    if changes is None and not metadata:
        return ""
    updates |= metadata
    if view.diffs:
        adds, deletes, updates = (names & set(view.diffs) for names in (adds, deletes, updates))
    signed = ((sign, sorted(names)) for sign, names in (("+", adds), ("-", deletes), ("~", updates)))
    return "diff: " + "".join(sign + ",".join(names) for sign, names in signed if names)


def property_changes(view: StepView, refresh: bool = False) -> ObjectDiff | None:
    """Return the provider's detailed diff or otherwise the difference of the inputs. None if there is none."""
    if view.old is None or view.new is None:
        return None
    if view.detailed_diff is not None:
        return translate(view, refresh)
    return diff_objects(view.old.inputs, view.new.inputs)


def translate(view: StepView, refresh: bool) -> ObjectDiff | None:
    """Return the provider's detailed diff with values.

    It compares old outputs with new inputs or, after a refresh, with new outputs.
    """
    if view.old is None or view.new is None:
        return None
    root = ValueDiff(None, None)
    for name, change in sorted((view.detailed_diff or {}).items()):
        olds = view.old.inputs if change.input_diff else view.old.outputs
        news = view.new.outputs if refresh and not change.input_diff else view.new.inputs
        _add(_path(name), change.kind.basic, root, olds, news)
    return root.object


def _path(name: str) -> Path:
    try:
        return parse_path(name)
    except EngineError:
        return (name,)


def _add(path: Path, kind: DiffKind, parent: ValueDiff, olds: Value, news: Value) -> None:
    """Add one change at its path, with the arrays and objects above it."""
    element = path[0]
    old, new = get_at(olds, path[:1]), get_at(news, path[:1])
    place: ArrayDiff | ObjectDiff
    if isinstance(element, int):
        parent.array = place = parent.array or ArrayDiff()
    else:
        parent.object = place = parent.object or ObjectDiff()
    adds: dict[int | str, Value] = place.adds  # type: ignore[assignment]
    deletes: dict[int | str, Value] = place.deletes  # type: ignore[assignment]
    updates: dict[int | str, ValueDiff] = place.updates  # type: ignore[assignment]
    if len(path) > 1:
        if old is None and new is not None:
            adds[element] = new
        elif old is not None and new is None:
            deletes[element] = old
        else:
            inner = updates.setdefault(element, ValueDiff(old, new))
            _add(path[1:], kind, inner, old, new)
    elif kind is DiffKind.ADD:
        adds[element] = UNKNOWN if new is None else new
    elif kind is DiffKind.DELETE:
        deletes[element] = UNKNOWN if old is None else old
    else:
        updates[element] = diff_values(old, new) or ValueDiff(old, new)
