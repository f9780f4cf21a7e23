"""Diff: the differing properties and their kind, in addition to the recordings of the real plugin."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_embedded.model.values import UNKNOWN
from pulumi_embedded.postgresql.diff import Edit, difference
from pulumi_embedded.postgresql.properties import plan
from pulumi_embedded.postgresql.provider import KINDS

ROLE = KINDS["postgresql:index/role:Role"].schema
GRANT = KINDS["postgresql:index/grant:Grant"].schema
DATABASE = KINDS["postgresql:index/database:Database"].schema
SCHEMA = KINDS["postgresql:index/schema:Schema"].schema


def role(**values: Any) -> dict[str, Any]:
    """Return a role's outputs."""
    return plan(ROLE, None, {"name": "r"}) | values


def paths(old: dict[str, Any], **inputs: Any) -> dict[str, int]:
    """Return the changes that `inputs` would make to a role."""
    return dict(difference(ROLE, old, {"name": "r"} | inputs).paths)


@pytest.mark.parametrize("schema", [kind.schema for kind in KINDS.values()], ids=list(KINDS))
def test_a_new_resource_does_not_differ_from_what_made_it(schema: Any) -> None:
    inputs = {name: ["a", "b"] if prop.type.collection else "a" for name, prop in schema.items() if prop.required}
    assert difference(schema, plan(schema, None, inputs), inputs).paths == {}


def test_null_and_the_type_s_zero_are_the_same() -> None:
    """An imported resource has nulls for properties that the server does not report."""
    old = plan(DATABASE, None, {"name": "d"}) | {"alterObjectOwnership": None}
    assert difference(DATABASE, old, {"name": "d"}).paths == {}


def test_null_and_a_default_that_is_not_zero_differ() -> None:
    old = plan(SCHEMA, None, {"name": "s"}) | {"ifNotExists": None}
    assert difference(SCHEMA, old, {"name": "s"}).paths == {"ifNotExists": Edit.ADD}


def test_a_write_only_password_is_never_a_difference_but_its_version_is() -> None:
    assert paths(role(), passwordWo="x") == {}
    assert paths(role(passwordWoVersion="1"), passwordWo="x", passwordWoVersion="2") == {
        "passwordWoVersion": Edit.UPDATE
    }


def test_a_value_to_become_known_is_a_change_of_the_whole() -> None:
    """This includes a list with one unknown element."""
    assert paths(role(roles=["a"]), roles=["a", UNKNOWN]) == {"roles": Edit.UPDATE}
    assert paths(role(), roles=[UNKNOWN]) == {"roles": Edit.ADD}


def test_ignored_changes_are_no_changes_and_replace_nothing() -> None:
    inputs = {"role": "r", "database": "other", "objectType": "database", "privileges": ["CONNECT"]}
    old = plan(GRANT, None, inputs) | {"database": "d", "privileges": []}
    found = difference(GRANT, old, inputs, ["database"])
    assert (found.properties, found.replaces) == (["privileges"], [])


def test_a_set_has_no_order_and_no_twins() -> None:
    assert paths(role(roles=["a", "b"]), roles=["b", "a", "b"]) == {}


NAMES = st.lists(st.sampled_from("abcd"), max_size=5)


@given(NAMES, NAMES)
def test_the_edits_of_a_list_lead_from_the_old_one_to_the_new_one(before: list[str], after: list[str]) -> None:
    edits = paths(role(searchPaths=before), searchPaths=after)
    whole = edits.pop("searchPaths", None)
    if whole is None:
        index = {int(path.removeprefix("searchPaths[").rstrip("]")): edit for path, edit in edits.items()}
        kept = [value for i, value in enumerate(before) if index.get(i) not in (Edit.DELETE, Edit.UPDATE)]
        there = [value for i, value in enumerate(after) if index.get(i) not in (Edit.ADD, Edit.UPDATE)]
        assert kept == there
    else:
        assert whole == (Edit.ADD if after else Edit.DELETE)
        assert not (before and after)


@given(NAMES, NAMES)
def test_the_edits_of_a_set_name_what_goes_and_what_comes(before: list[str], after: list[str]) -> None:
    old = sorted(set(before))
    edits = paths(role(roles=old), roles=after)
    if "roles" not in edits:
        index = {int(path.removeprefix("roles[").rstrip("]")): edit for path, edit in edits.items()}
        gone = {old[i] for i, edit in index.items() if edit in (Edit.DELETE, Edit.UPDATE)}
        come = {after[i] for i, edit in index.items() if edit in (Edit.ADD, Edit.UPDATE)}
        assert (gone, come) == (set(old) - set(after), set(after) - set(old))
