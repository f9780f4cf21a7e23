"""A property value survives the transport over gRPC. Secrets are wrapped only for receivers that accept them."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from pulumi_embedded.errors import Unsupported
from pulumi_embedded.model.differ import equal
from pulumi_embedded.model.values import (
    SIGNATURE,
    UNKNOWN,
    UNKNOWN_SENTINEL,
    Secret,
    annotate_secrets,
    contains_secrets,
    contains_unknowns,
    from_struct,
    plain,
    to_struct,
    unwrap,
)

SECRET = {SIGNATURE: "1b47061264138c4ac30d75fd1eb44270", "value": "x"}

leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()),
    st.text().filter(lambda text: "-" not in text),
    st.just(UNKNOWN),
)
keys = st.text(min_size=1).filter(lambda key: key != SIGNATURE)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(keys, inner), st.builds(Secret, inner)),
    max_leaves=12,
)


def _wire(document: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(document, struct_pb2.Struct())


@given(st.dictionaries(keys, values))
def test_properties_come_back_from_the_wire_as_they_went(properties: dict[str, Any]) -> None:
    assert equal(from_struct(to_struct(properties, secrets=True)), properties)


@given(st.dictionaries(keys, values))
def test_without_secrets_the_wire_holds_the_plain_values(properties: dict[str, Any]) -> None:
    received = from_struct(to_struct(properties, secrets=False))
    assert not contains_secrets(received)
    assert equal(received, unwrap(properties))


def test_the_wire_form_is_pulumis() -> None:
    assert from_struct(_wire({"s": SECRET, "u": UNKNOWN_SENTINEL, "n": 3.0})) == {
        "s": Secret("x"),
        "u": UNKNOWN,
        "n": 3,
    }
    assert json_format.MessageToDict(to_struct({"s": Secret("x")}, secrets=True)) == {"s": SECRET}


def test_unknowns_can_be_left_out() -> None:
    sent = to_struct({"a": 1, "b": UNKNOWN}, secrets=True, unknowns=False)
    assert from_struct(sent) == {"a": 1}


def test_a_resource_reference_becomes_its_id_for_those_who_take_none() -> None:
    reference = {SIGNATURE: "5cf8f73096256a8f31e491e813e4eb8e", "urn": "urn:x", "id": "7", "packageVersion": ""}
    assert from_struct(to_struct({"r": reference}, secrets=True)) == {"r": reference}
    assert from_struct(to_struct({"r": reference}, secrets=True, resources=False)) == {"r": "7"}


@pytest.mark.parametrize("signature", ["c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"])
def test_assets_are_refused_by_name(signature: str) -> None:
    with pytest.raises(Unsupported, match=r"an a(sset|rchive).*the Pulumi CLI does it"):
        from_struct(_wire({"a": {SIGNATURE: signature, "text": "x"}}))


def test_an_output_is_secret_where_the_input_of_its_name_holds_a_secret() -> None:
    outputs: dict[str, Any] = {"a": "x", "b": "y", "c": {"d": "z"}}
    annotate_secrets(outputs, {"a": Secret("x"), "b": "y", "c": {"d": Secret("z")}, "gone": Secret(1)})
    assert outputs == {"a": Secret("x"), "b": "y", "c": {"d": Secret("z")}}


def test_what_is_shown_never_holds_a_secret() -> None:
    value = {"a": [Secret("x"), UNKNOWN]}
    assert plain(value) == {"a": ["[secret]", UNKNOWN_SENTINEL]}
    assert plain(value, show_secrets=True) == {"a": ["x", UNKNOWN_SENTINEL]}
    assert "hidden" not in repr(Secret("hidden"))
    assert contains_unknowns(value) and contains_secrets(value)


def test_unknowns_are_left_out_at_every_depth_for_a_reader_that_takes_none() -> None:
    value = {"a": UNKNOWN, "b": [1, UNKNOWN], "c": {"d": UNKNOWN, "e": 1}, "s": Secret(UNKNOWN), "t": Secret([UNKNOWN])}
    struct = to_struct(value, secrets=True, unknowns=False)
    assert from_struct(struct) == {"b": [1], "c": {"e": 1}, "t": Secret([])}
