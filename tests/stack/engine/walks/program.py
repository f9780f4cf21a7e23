"""The module `walk` of a walk's project: it registers the content of `program.json`, one resource after the other.

Each registration ends before the next begins, so that every engine gets its requests in the same order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi

OPTIONS = {
    "protect", "retain_on_delete", "delete_before_replace", "ignore_changes", "replace_on_changes",
    "additional_secret_outputs", "import_", "depends_on", "parent", "deleted_with", "replace_with", "provider",
    "aliases", "custom_timeouts",
}  # fmt: skip
made: dict[str, Any] = {}


class Thing(pulumi.CustomResource):
    serial: pulumi.Output[str]
    token: pulumi.Output[str]

    def __init__(self, name: str, inputs: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__("walk:index:Thing", name, {"token": None, **inputs, "serial": None}, opts)


class Group(pulumi.ComponentResource):
    def __init__(self, name: str, inputs: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__("walk:index:Group", name, inputs, opts)


class PlanReview(pulumi.ProviderResource):
    def __init__(self, name: str, inputs: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__("walk", name, inputs, opts)


KINDS: dict[str, Any] = {"thing": Thing, "group": Group, "provider": PlanReview, "read": Thing}


def value(document: Any) -> Any:
    """Return a value of the document. `{"$ref": NAME}` is another resource's output, `{"$secret": VALUE}` a secret."""
    if isinstance(document, list):
        return [value(each) for each in document]
    if not isinstance(document, dict):
        return document
    if "$ref" in document:
        return getattr(made[document["$ref"]], document.get("of", "serial"))
    if "$secret" in document:
        return pulumi.Output.secret(value(document["$secret"]))
    return {key: value(each) for key, each in document.items()}


def option(name: str, document: Any) -> Any:
    if name in ("parent", "deleted_with", "provider"):
        return made[document]
    if name in ("depends_on", "replace_with"):
        return [made[each] for each in document]
    if name == "aliases":
        return [pulumi.Alias(**_alias(each)) if isinstance(each, dict) else each for each in document]
    if name == "custom_timeouts":
        return pulumi.CustomTimeouts(**document)
    return document


def _alias(document: dict[str, Any]) -> dict[str, Any]:
    if "parent" not in document:
        return document
    return {**document, "parent": made.get(document["parent"], pulumi.ROOT_STACK_RESOURCE)}


async def main() -> dict[str, Any]:
    document = json.loads(Path("program.json").read_text())
    for entry in document["resources"]:
        options = {name: option(name, each) for name, each in entry.get("options", {}).items() if name in OPTIONS}
        if entry["kind"] == "read":
            options["id"] = entry["id"]
        inputs = value(entry.get("inputs", {}))
        resource = KINDS[entry["kind"]](entry["name"], inputs, pulumi.ResourceOptions(**options))
        made[entry["name"]] = resource
        await resource.urn.future()
        if entry["kind"] == "group":
            resource.register_outputs(value(entry.get("outputs", {})))
    if document.get("fails"):
        raise pulumi.RunError("told to fail")
    return value(document.get("exports", {}))
