"""A check that the provider's calls came in an order that the dependencies allow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi_embedded.testing import Resource, Result

from .fake import Call
from .program import Program

__all__ = ["check_order"]

Objects = dict[str, dict[str, Any]]


def check_order(
    program: Program, before: Mapping[str, Resource], objects: Objects, calls: list[Call], result: Result
) -> None:
    """Replay the calls on the objects that existed before. Raises AssertionError if a call came too early."""
    live = dict(objects)
    urns = {id_: each.urn for id_, each in before.items()}
    # Objects that an earlier operation left intentionally.
    left = objects.keys() - before.keys()
    for number, call in enumerate(calls):
        if call.failed:
            continue
        if call.method == "delete":
            _check_unprotected(before.get(call.id), result)
            del live[call.id]
            kept = left | {id_ for id_, each in before.items() if each.state.retain_on_delete}
            ahead = _is_ahead(call, {urns[id_] for id_ in live if id_ in urns}, calls[number + 1 :], result)
            free = _free(program, live, call) if ahead else set()
            users = _users(before, live, call, calls[number + 1 :], ahead=ahead)
            wrong = users - kept - free
            assert not wrong, f"{call.urn} was deleted before what depends on it: {[urns[id_] for id_ in wrong]}"
        else:
            missing = {*call.inputs["needs"], *call.inputs["fixed_needs"]} - live.keys()
            assert not missing, f"{call.urn} was made before what it needs: {missing}"
            live[call.id], urns[call.id] = call.inputs, call.urn
            _check_create(program, live, call)


def _check_create(program: Program, live: Objects, call: Call) -> None:
    entry = program.entries[call.inputs["key"]]
    there = {inputs["key"] for inputs in live.values()}
    for key in {*entry.after, entry.parent} - {""}:
        assert program.entries[key].component or key in there, f"{call.urn} was made before {key}"


def _check_unprotected(resource: Resource | None, result: Result) -> None:
    if resource is None or not resource.state.protect:
        return
    freed = [each for each in result.steps if each.old and each.old.id == resource.id and each.new]
    assert any(each.new and not each.new.state.protect for each in freed), f"{resource.urn} is protected"


def _is_ahead(call: Call, urns: set[str], later: list[Call], result: Result) -> bool:
    """Return whether the object is deleted before its replacement is created, and not at the end of the update."""
    ops = {each.op for each in result.steps if each.old and each.old.id == call.id and not each.new}
    return "delete-replaced" in ops and (call.urn not in urns or any(each.method != "delete" for each in later))


def _users(before: Mapping[str, Resource], live: Objects, call: Call, later: list[Call], *, ahead: bool) -> set[str]:
    """Return the objects that need the deleted object, or depend on it and are deleted later.

    A delete before a replacement takes only the objects that are replaced with it.
    """
    users = {id_ for id_, inputs in live.items() if call.id in inputs["fixed_needs"]}
    if ahead:
        return users
    users |= {id_ for id_, inputs in live.items() if call.id in inputs["needs"]}
    if [each.urn for each in before.values()].count(call.urn) > 1:
        # The state contains only URNs, and not which of several resources they mean.
        return users
    deleted = {each.id for each in later if each.method == "delete" and not each.failed} & before.keys()
    return users | {id_ for id_ in deleted if call.urn in before[id_].state.all_dependencies()}


def _free(program: Program, live: Objects, call: Call) -> set[str]:
    """Return the objects that were registered before, and no longer mention the deleted object."""
    key = call.inputs["key"]
    entries = program.entries
    return {
        id_ for id_, inputs in live.items() if inputs["key"] in entries and key not in entries[inputs["key"]].mentions()
    }
