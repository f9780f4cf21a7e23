"""The document of an update plan, which the Pulumi CLI reads and writes too.

The format is `DeploymentPlanV1` of Pulumi CLI 3.260, which has no version of its own. Names of fields never change, and
unknown fields are ignored.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.goals import Alias, Goal
from pulumi_embedded.model.plan import PropertyChanges, ResourcePlan, UpdatePlan
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.values import Properties, Value
from pulumi_embedded.storage.checkpoint import Codec, manifest
from pulumi_embedded.storage.config import scalar_text

__all__ = ["parse_plan", "plan_document"]

JSON = dict[str, Any]
Kind = TypeVar("Kind")

_MAJOR_VERSION: Final = "3."
# From the attributes of a goal and of an alias to the fields of the document, each with its type.
_GOAL: Final[dict[str, tuple[str, type]]] = {
    "parent": ("parent", str),
    "protect": ("protect", bool),
    "dependencies": ("dependencies", list),
    "provider": ("provider", str),
    "property_dependencies": ("propertyDependencies", dict),
    "delete_before_replace": ("deleteBeforeReplace", bool),
    "ignore_changes": ("ignoreChanges", list),
    "additional_secret_outputs": ("additionalSecretOutputs", list),
    "aliases": ("structuredAliases", list),
    "import_id": ("id", str),
    "custom_timeouts": ("customTimeouts", dict),
}
_ALIAS: Final[dict[str, tuple[str, type]]] = {
    "urn": ("URN", str),
    "name": ("Name", str),
    "type": ("Type", str),
    "project": ("Project", str),
    "stack": ("Stack", str),
    "parent": ("Parent", str),
    "no_parent": ("NoParent", bool),
}
_ALWAYS: Final = {"type", "name", "custom", "inputDiff", "outputDiff", "protect", "customTimeouts"}


def plan_document(plan: UpdatePlan, config: JSON, codec: Codec) -> JSON:
    """Return the document of a plan and its configuration, with encrypted secrets."""
    document: JSON = {"manifest": manifest()}
    if config:
        document["config"] = {
            key: value if isinstance(value, dict | list) else scalar_text(value)
            for key, value in sorted(config.items())
        }
    document["resourcePlans"] = {urn: _resource(goal, codec.seal) for urn, goal in sorted(plan.resources.items())}
    return document


def _resource(plan: ResourcePlan, seal: Callable[[Value], Value]) -> JSON:
    document: JSON = {} if plan.goal is None else {"goal": _goal(plan, plan.goal, seal)}
    if plan.steps:
        document["steps"] = [str(op) for op in plan.steps]
    document["state"] = None if plan.state is None else seal(plan.state)
    if plan.seed:
        document["seed"] = base64.b64encode(plan.seed).decode()
    return document


def _goal(plan: ResourcePlan, goal: Goal, seal: Callable[[Value], Value]) -> JSON:
    document: JSON = {
        "type": goal.type,
        "name": goal.name,
        "custom": goal.custom,
        "inputDiff": _changes(plan.inputs, seal),
        "outputDiff": _changes(plan.outputs, seal),
        **_fields(goal, _GOAL),
        "protect": bool(goal.protect),
        "structuredAliases": [_fields(alias, _ALIAS) for alias in goal.aliases],
    }
    return {key: value for key, value in document.items() if value or value is False or key in _ALWAYS}


def _fields(value: object, fields: dict[str, tuple[str, type]]) -> JSON:
    return {key: getattr(value, name) for name, (key, _) in fields.items()}


def _read_fields(document: JSON, fields: dict[str, tuple[str, type]]) -> dict[str, Any]:
    return {name: _optional(document, key, kind) for name, (key, kind) in fields.items()}


def _changes(changes: PropertyChanges, seal: Callable[[Value], Value]) -> JSON:
    document = {"adds": seal(changes.adds), "deletes": changes.deletes, "updates": seal(changes.updates)}
    return {key: value for key, value in document.items() if value}


def parse_plan(text: str, project: str, stack: str, codec: Codec) -> UpdatePlan:
    """Return the plan in a file's text. Raises EngineError if it is no plan of this stack."""
    try:
        document = json.loads(text)
        _require_version(document)
        plans = _required(document, "resourcePlans", dict)
        resources = {urn: _read_resource(goal, codec.open) for urn, goal in plans.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EngineError("is damaged, or is no update plan") from None
    _require_stack(resources, project, stack)
    return UpdatePlan(resources)


def _require_version(document: JSON) -> None:
    version = _required(_required(document, "manifest", dict), "version", str)
    if not version.removeprefix("v").startswith(_MAJOR_VERSION):
        raise EngineError(f"was saved by Pulumi {version}, and this engine reads plans of {_MAJOR_VERSION}x")


def _require_stack(resources: JSON, project: str, stack: str) -> None:
    for urn in resources:
        parts = urn.removeprefix("urn:pulumi:").split("::")[:2]
        if parts != [stack, project]:
            raise EngineError(f"is of the stack {'/'.join(reversed(parts))}, and this one is {project}/{stack}")


def _read_resource(document: JSON, opened: Callable[[Value], Value]) -> ResourcePlan:
    goal = _optional(document, "goal", dict)
    return ResourcePlan(
        _read_goal(goal) if goal else None,
        _read_changes(_optional(goal, "inputDiff", dict), opened),
        _read_changes(_optional(goal, "outputDiff", dict), opened),
        [_read_step(name) for name in _optional(document, "steps", list)],
        None if document.get("state") is None else _opened(document, "state", opened),
        base64.b64decode(_optional(document, "seed", str), validate=True),
    )


def _read_step(name: str) -> Op:
    try:
        return Op(name)
    except ValueError:
        raise EngineError(f"has the step {name!r}, which this engine does not know") from None


def _read_goal(document: JSON) -> Goal:
    return Goal(
        _required(document, "type", str),
        _required(document, "name", str),
        _required(document, "custom", bool),
        {},
        **_read_fields(document, _GOAL)
        | {
            "delete_before_replace": document.get("deleteBeforeReplace"),
            "aliases": [Alias(**_read_fields(alias, _ALIAS)) for alias in document.get("structuredAliases") or []],
        },
    )


def _read_changes(document: JSON, opened: Callable[[Value], Value]) -> PropertyChanges:
    adds, updates = (_opened(document, key, opened) for key in ("adds", "updates"))
    return PropertyChanges(adds, updates, _optional(document, "deletes", list))


def _opened(document: JSON, key: str, opened: Callable[[Value], Value]) -> Properties:
    return {name: opened(value) for name, value in _optional(document, key, dict).items()}


def _required(document: JSON, key: str, kind: type[Kind]) -> Kind:
    value = document[key]
    if not isinstance(value, kind):
        raise TypeError
    return value


def _optional(document: JSON, key: str, kind: type[Kind]) -> Kind:
    return kind() if document.get(key) is None else _required(document, key, kind)
