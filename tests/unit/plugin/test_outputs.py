"""Outputs and refreshed inputs, in addition to the recordings of the real plugin."""

from __future__ import annotations

from pulumi_embedded.model.values import UNKNOWN, Secret
from pulumi_embedded.postgresql.outputs import applied, outputs, refreshed_inputs
from pulumi_embedded.postgresql.properties import plan
from pulumi_embedded.postgresql.provider import KINDS

ROLE = KINDS["postgresql:index/role:Role"].schema
GRANT = KINDS["postgresql:index/grant:Grant"].schema
DATABASE = KINDS["postgresql:index/database:Database"].schema


def test_every_kind_s_outputs_hold_every_property_and_the_id() -> None:
    for kind in KINDS.values():
        assert set(outputs(kind.schema, "i", {})) == {*kind.schema, "id", "__pulumi_raw_state_delta"}


def test_a_secret_is_wrapped_even_where_there_is_none() -> None:
    """The real plugin does the same, so that the state keeps recording which outputs are secret."""
    assert outputs(ROLE, "i", {})["password"] == Secret(None)


def test_what_the_server_does_not_tell_is_null_after_a_creation() -> None:
    """Only previews have unknown values."""
    planned = plan(DATABASE, None, {"name": "d"})
    assert planned["owner"] is UNKNOWN
    assert applied(DATABASE, planned, {})["owner"] is None


def test_a_set_that_the_server_did_not_take_shows_at_the_next_refresh_only() -> None:
    planned = plan(GRANT, None, {"privileges": ["CONNECT"]})
    assert applied(GRANT, planned, {"privileges": []})["privileges"] == ["CONNECT"]


def test_a_write_only_password_stays_in_the_inputs_over_a_refresh() -> None:
    inputs = {"name": "r", "passwordWo": "x", "passwordWoVersion": "1"}
    values = {"name": "r", "passwordWo": None, "passwordWoVersion": "1"}
    assert refreshed_inputs(ROLE, inputs, values)["passwordWo"] == Secret("x")


def test_only_defaults_that_still_hold_stay_defaults() -> None:
    inputs = {"__defaults": ["inherit", "validUntil"], "name": "r", "inherit": True, "validUntil": "infinity"}
    values = {"name": "r", "inherit": False, "validUntil": "infinity"}
    assert refreshed_inputs(ROLE, inputs, values) == {
        "__defaults": ["validUntil"], "name": "r", "inherit": False, "validUntil": "infinity",
    }  # fmt: skip
