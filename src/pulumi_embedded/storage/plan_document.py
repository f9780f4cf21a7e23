"""The document of an update plan: what the Pulumi CLI wrote is read, and what is written the CLI reads.

Format: Pulumi CLI 3.260, `DeploymentPlanV1`, which has no version of its own. Names of fields are never changed, and
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
_ALWAYS: Final = {"type", "name", "custom", "inputDiff", "outputDiff", "protect", "customTimeouts"}


def plan_document(plan: UpdatePlan, config: JSON, codec: Codec) -> JSON:
    """The document of a plan, with the configuration that it was made with, secrets encrypted."""
    document: JSON = {"manifest": manifest()}
    if config:
        document["config"] = {
            key: value if isinstance(value, dict | list) else scalar_text(value)
            for key, value in sorted(config.items())
        }
    document["resourcePlans"] = {urn: _resource(each, codec.seal) for urn, each in sorted(plan.resources.items())}
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
        "parent": goal.parent,
        "protect": bool(goal.protect),
        "dependencies": goal.dependencies,
        "provider": goal.provider,
        "propertyDependencies": goal.property_dependencies,
        "deleteBeforeReplace": goal.delete_before_replace,
        "ignoreChanges": goal.ignore_changes,
        "additionalSecretOutputs": goal.additional_secret_outputs,
        "structuredAliases": [_alias(each) for each in goal.aliases],
        "id": goal.import_id,
        "customTimeouts": goal.custom_timeouts,
    }
    return {key: value for key, value in document.items() if value or value is False or key in _ALWAYS}


def _alias(alias: Alias) -> JSON:
    return {
        "URN": alias.urn,
        "Name": alias.name,
        "Type": alias.type,
        "Project": alias.project,
        "Stack": alias.stack,
        "Parent": alias.parent,
        "NoParent": alias.no_parent,
    }


def _changes(changes: PropertyChanges, seal: Callable[[Value], Value]) -> JSON:
    document = {"adds": seal(changes.adds), "deletes": changes.deletes, "updates": seal(changes.updates)}
    return {key: value for key, value in document.items() if value}


def parse_plan(text: str, project: str, stack: str, codec: Codec) -> UpdatePlan:
    """The plan in a file's text; raises EngineError, which says what is wrong with it, if it is none for this stack."""
    try:
        document = json.loads(text)
        _require_version(document)
        plans = _required(document, "resourcePlans", dict)
        resources = {urn: _read_resource(each, codec.open) for urn, each in plans.items()}
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
        found = urn.removeprefix("urn:pulumi:").split("::")[:2]
        if found != [stack, project]:
            raise EngineError(f"is of the stack {'/'.join(reversed(found))}, and this one is {project}/{stack}")


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
        parent=_optional(document, "parent", str),
        provider=_optional(document, "provider", str),
        protect=_optional(document, "protect", bool),
        dependencies=_optional(document, "dependencies", list),
        property_dependencies=_optional(document, "propertyDependencies", dict),
        delete_before_replace=document.get("deleteBeforeReplace"),
        ignore_changes=_optional(document, "ignoreChanges", list),
        additional_secret_outputs=_optional(document, "additionalSecretOutputs", list),
        aliases=[_read_alias(each) for each in _optional(document, "structuredAliases", list)],
        custom_timeouts=_optional(document, "customTimeouts", dict),
        import_id=_optional(document, "id", str),
    )


def _read_alias(document: JSON) -> Alias:
    return Alias(
        urn=_optional(document, "URN", str),
        name=_optional(document, "Name", str),
        type=_optional(document, "Type", str),
        stack=_optional(document, "Stack", str),
        project=_optional(document, "Project", str),
        parent=_optional(document, "Parent", str),
        no_parent=_optional(document, "NoParent", bool),
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
