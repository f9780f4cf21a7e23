"""Check: coercions, defaults and refusals that the recordings of the real plugin do not cover."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_embedded.model.values import UNKNOWN, Secret
from pulumi_embedded.postgresql.check import check, generated_name
from pulumi_embedded.postgresql.provider import KINDS

ROLE = KINDS["postgresql:index/role:Role"].schema
GRANT = KINDS["postgresql:index/grant:Grant"].schema
DATABASE = KINDS["postgresql:index/database:Database"].schema


def checked(schema: Any, **news: Any) -> dict[str, Any]:
    """Return the checked inputs, and fail if one is refused."""
    inputs, reasons = check(schema, "r", news, "r-1234567")
    assert reasons == []
    return inputs


@pytest.mark.parametrize(
    ("given", "taken"), [("t", True), ("FALSE", False), (1, True), (0, False), ("True", True), (True, True)]
)
def test_booleans_are_taken_in_every_spelling_of_go(given: Any, taken: bool) -> None:
    assert checked(ROLE, login=given)["login"] is taken


@pytest.mark.parametrize(("given", "taken"), [("7", 7), (7.9, 7), (True, 1)])
def test_numbers_are_taken_from_strings_and_cut_off(given: Any, taken: int) -> None:
    assert checked(ROLE, connectionLimit=given)["connectionLimit"] == taken


def test_a_number_where_a_name_belongs_becomes_text() -> None:
    assert checked(ROLE, name=42)["name"] == "42"


def test_one_value_becomes_a_list_of_one() -> None:
    assert checked(ROLE, roles="readers")["roles"] == ["readers"]


def test_a_null_is_as_good_as_nothing() -> None:
    """A null counts as absent even if the property has a default: the default is filled in."""
    assert checked(ROLE, inherit=None, assumeRole=None) == checked(ROLE)


@pytest.mark.parametrize("key", ["login", "connectionLimit", "name", "roles", "validUntil"])
def test_an_unknown_value_passes_every_check(key: str) -> None:
    assert checked(ROLE, **{key: UNKNOWN})[key] is UNKNOWN


def test_an_unknown_choice_is_not_refused() -> None:
    news = {"database": "d", "role": "r", "privileges": ["USAGE"], "objectType": UNKNOWN}
    assert checked(GRANT, **news)["objectType"] is UNKNOWN


def test_every_reason_is_given_at_once() -> None:
    _, reasons = check(DATABASE, "db", {"connectionLimit": -2, "allowConnections": "maybe", "colour": "red"}, "n")
    assert [reason.partition("Examine values at ")[2] for reason in reasons] == [
        "'db.colour'.", "'db.allowConnections'.", "'db.connectionLimit'.",
    ]  # fmt: skip


def test_a_password_comes_back_as_a_secret() -> None:
    assert checked(ROLE, password="x")["password"] == Secret("x")


def test_a_name_that_was_given_before_is_not_taken_for_a_generated_one() -> None:
    """If a program removes the name, the resource gets a generated name."""
    assert generated_name("r", b"seed", {"name": "mine", "__defaults": []}) != "mine"


def test_where_names_are_not_generated_one_has_to_be_given() -> None:
    """This is `pulumi:autonaming` with mode `disabled`."""
    inputs, reasons = check(ROLE, "r", {}, None)
    assert "name" not in inputs
    assert reasons == [
        'Missing required argument. The argument "name" is required, but no definition was found.. '
        "Examine values at 'r.name'."
    ]


VALUES = st.one_of(
    st.booleans(), st.integers(-5, 5), st.text("aN1", max_size=3), st.lists(st.text("aN1", max_size=3), max_size=3)
)


@given(st.dictionaries(st.sampled_from(sorted(ROLE)), VALUES))
def test_what_was_taken_once_is_taken_again_unchanged(news: dict[str, Any]) -> None:
    """A program that did not change passes the same inputs in every run."""
    inputs, reasons = check(ROLE, "r", news, "r-1234567")
    if not reasons:
        plain = {key: value.value if isinstance(value, Secret) else value for key, value in inputs.items()}
        again, reasons = check(ROLE, "r", plain, "r-1234567")
        assert not reasons
        assert {**again, "__defaults": []} == {**inputs, "__defaults": []}
