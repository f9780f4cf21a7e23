"""The update plan of a preview, and whether an update follows it.

The rules are those of the Pulumi engine (3.260). An unknown value accepts any value. A lesser step can replace a
planned one, such as `same` for an update. Every resource option must be the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pulumi_embedded.model.goals import Alias, Goal
from pulumi_embedded.model.gojson import number_text
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import provider_urn, urn_name
from pulumi_embedded.model.values import UNKNOWN, UNKNOWN_SENTINEL, Properties, Secret, Value

__all__ = ["PropertyChanges", "ResourcePlan", "UpdatePlan", "allows", "unchanged", "value_text"]

# The steps that are allowed instead of a planned one. The planned step itself is always allowed.
_LESSER: Final = {
    Op.CREATE: {Op.SAME},
    Op.UPDATE: {Op.SAME},
    Op.REPLACE: {Op.SAME, Op.UPDATE},
    Op.CREATE_REPLACEMENT: {Op.SAME, Op.UPDATE},
    Op.DELETE_REPLACED: {Op.SAME, Op.UPDATE},
}


def allows(planned: Op, op: Op) -> bool:
    """Return whether the step is allowed instead of the planned one."""
    return op is planned or op in _LESSER.get(planned, ())


@dataclass(frozen=True)
class PropertyChanges:
    """Added and updated properties with their new values, and the names of deleted ones."""

    adds: Properties = field(default_factory=dict)
    updates: Properties = field(default_factory=dict)
    deletes: list[str] = field(default_factory=list)

    @classmethod
    def between(cls, olds: Properties, news: Properties) -> PropertyChanges:
        """Return how the new properties differ from the old ones."""
        changes: dict[str, list[str]] = {"+": [], "~": [], "-": [], "=": [], "": []}
        for key in sorted({*olds, *news}):
            changes[_change(key, olds, news, lenient=False)].append(key)
        adds, updates = ({key: news[key] for key in changes[sign]} for sign in "+~")
        return cls(adds, updates, changes["-"])

    def violation(self, olds: Properties, news: Properties) -> str:
        """Return how the properties differ from the plan, in the Pulumi CLI's notation. Empty if they do not.

        `~+name[{planned}!={actual}]` is a planned update that is an addition.
        """
        keys = {*olds, *news, *self.adds, *self.updates, *self.deletes}
        texts = sorted(filter(None, (self._key_violation(key, olds, news) for key in keys)))
        return f"properties changed: {', '.join(texts)}" if texts else ""

    def _key_violation(self, key: str, olds: Properties, news: Properties) -> str:
        change = _change(key, olds, news, lenient=True)
        planned = "+" if key in self.adds else "~" if key in self.updates else "-" if key in self.deletes else "="
        value = self.adds.get(key, self.updates.get(key))
        if planned == "=":
            kept = change in ("=", "")
        elif planned == "-":
            kept = change in ("-", "")
        elif change == "-":
            kept = planned == "~" and value is UNKNOWN
        elif key not in news:
            kept = value is UNKNOWN
        else:
            kept = _agree(value, news[key]) and (planned, change) != ("~", "+")
        if kept:
            return ""
        change = change or ("=" if key in news else "-")
        values = [value] if planned in "+~" else []
        values += [news.get(key)] if change != "-" else []
        return f"{planned}{change}{key}" + (f"[{'!='.join(map(value_text, values))}]" if values else "")


def _change(key: str, olds: Properties, news: Properties, *, lenient: bool) -> str:
    """Return the change of a property: `+`, `~`, `-`, `=`, or empty if it has no value on either side."""
    old, new = olds.get(key), news.get(key)
    if key in olds and key in news:
        same = _agree(old, new, lenient=lenient)
    else:
        same = old is new is None or (lenient and old is UNKNOWN)
    if same:
        return "=" if key in olds and key in news else ""
    return "+" if old is None else "-" if new is None else "~"


def _agree(planned: Value, actual: Value, *, lenient: bool = True) -> bool:
    """Return whether two values are the same. With `lenient`, an unknown value equals every value."""
    if planned is UNKNOWN or actual is UNKNOWN:
        return lenient or planned is actual
    if isinstance(planned, Secret) or isinstance(actual, Secret):
        both = isinstance(planned, Secret) and isinstance(actual, Secret)
        return both and _agree(planned.value, actual.value, lenient=lenient)
    if isinstance(planned, bool) or isinstance(actual, bool):
        return planned is actual
    if isinstance(planned, list) and isinstance(actual, list):
        pairs = zip(planned, actual, strict=False)
        return len(planned) == len(actual) and all(_agree(*pair, lenient=lenient) for pair in pairs)
    if isinstance(planned, dict) and isinstance(actual, dict):
        return all(_change(key, planned, actual, lenient=lenient) in ("=", "") for key in {*planned, *actual})
    return bool(planned == actual)


def value_text(value: Value) -> str:
    """Return the value in the Pulumi CLI's notation. Unlike the CLI, do not show secrets."""
    if value is UNKNOWN:
        return "output<string>{}"
    if isinstance(value, Secret):
        return "{[secret]}"
    if isinstance(value, list):
        return "{[" + " ".join(map(value_text, value)) + "]}"
    if isinstance(value, dict):
        return "{map[" + " ".join(f"{key}:{value_text(value[key])}" for key in sorted(value)) + "]}"
    return f"{{{_scalar(value)}}}"


def _scalar(value: Any) -> str:
    """Return a value as Go prints it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return str(value).lower()
    return number_text(float(value)) if isinstance(value, int | float) else str(value)


@dataclass
class ResourcePlan:
    """The plan of one resource. There is no goal if the program does not register it."""

    goal: Goal | None = None
    inputs: PropertyChanges = field(default_factory=PropertyChanges)
    outputs: PropertyChanges = field(default_factory=PropertyChanges)
    steps: list[Op] = field(default_factory=list)
    # The outputs after the steps, which are not compared.
    state: Properties | None = None
    seed: bytes = b""

    def option_violation(self, goal: Goal) -> str:
        """Return the first difference between the registration's options and the plan. Empty if there is none."""
        if self.goal is None:
            return "resource unexpectedly not deleted"
        return next(filter(None, _option_violations(self.goal, goal)), "")

    def violation(self, goal: Goal, olds: Properties, news: Properties) -> str:
        """Return the first difference between the registration and the plan. Empty if there is none.

        Args:
            goal: The registration.
            olds: The inputs in the state.
            news: The inputs that the provider has checked.

        """
        violation = self.option_violation(goal) or self.inputs.violation(olds, news)
        return violation or next(filter(None, _dependency_violations(self.goal or goal, goal)), "")


def _option_violations(planned: Goal, goal: Goal) -> Iterator[str]:
    """Return the differences in the Pulumi engine's order, with empty texts between them."""
    if goal.custom != planned.custom:
        yield f"resource kind changed (expected {'custom' if planned.custom else 'component'})"
    if not _same_provider(planned.provider, goal.provider):
        yield f"provider changed (expected {planned.provider})"
    if goal.parent != planned.parent:
        yield f"parent changed (expected {planned.parent})"
    if bool(goal.protect) != bool(planned.protect):
        yield f"protect changed (expected {_scalar(bool(planned.protect))})"
    if goal.delete_before_replace != planned.delete_before_replace:
        first = planned.delete_before_replace
        yield f"deleteBeforeReplace changed (expected {'no value' if first is None else _scalar(first)})"
    if goal.import_id != planned.import_id:
        yield f"importID changed (expected {planned.import_id})"
    for name in ("create", "update", "delete", "read"):
        expected = planned.custom_timeouts.get(name, 0)
        if goal.custom_timeouts.get(name, 0) != expected:
            yield f"{name} timeout changed (expected {_scalar(expected)})"
    yield _sets("ignoreChanges", planned.ignore_changes, goal.ignore_changes)
    yield _sets("additionalSecretOutputs", planned.additional_secret_outputs, goal.additional_secret_outputs)
    yield _sets("dependencies", planned.dependencies, goal.dependencies)
    yield _sets("aliases", map(_alias_text, planned.aliases), map(_alias_text, goal.aliases))


def _dependency_violations(planned: Goal, goal: Goal) -> Iterator[str]:
    """Return differences of dependencies. A property that was unknown can be missing now, with its dependencies."""
    for key, urns in planned.property_dependencies.items():
        yield _sets(f"dependencies for {key}", urns, goal.property_dependencies.get(key, urns))


def _same_provider(planned: str, actual: str) -> bool:
    """Return whether the references are equal. The id of a provider that the update creates was not known."""
    if planned == actual:
        return True
    return provider_urn(planned) == provider_urn(actual) and planned.endswith(f"::{UNKNOWN_SENTINEL}")


def _sets(name: str, planned: Iterable[str], actual: Iterable[str]) -> str:
    befores, afters = set(planned), set(actual)
    parts = {"added": sorted(afters - befores), "deleted": sorted(befores - afters)}
    texts = [f"{verb} {', '.join(names)}" for verb, names in parts.items() if names]
    return f"{name} changed: {'; '.join(texts)}" if texts else ""


def _alias_text(alias: Alias) -> str:
    parts = (alias.urn, alias.name, alias.type, alias.project, alias.stack, alias.parent, alias.no_parent)
    return f"{{{' '.join(map(_scalar, parts))}}}"


def unchanged(old: ResourceState) -> ResourcePlan:
    """Return the plan of a resource that the saved plan lacks: nothing changes."""
    goal = Goal(
        old.type,
        urn_name(old.urn),
        old.custom,
        {},
        parent=old.parent,
        provider=old.provider,
        protect=old.protect,
        dependencies=old.dependencies,
        property_dependencies=old.property_dependencies,
        additional_secret_outputs=old.additional_secret_outputs,
        aliases=[Alias(urn=urn) for urn in old.aliases],
        custom_timeouts=old.custom_timeouts,
    )
    return ResourcePlan(goal)


@dataclass
class UpdatePlan:
    """The plan of each resource, by URN."""

    resources: Mapping[str, ResourcePlan] = field(default_factory=dict)
