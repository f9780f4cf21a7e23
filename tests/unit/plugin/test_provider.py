"""Answers of the servicer that need no server."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from pulumi.runtime.proto import provider_pb2

from pulumi_embedded.model.values import from_struct, to_struct
from pulumi_embedded.postgresql.provider import PostgresqlProvider

ROLE = "postgresql:index/role:Role"


class Refused(Exception):
    """Stands for the error that gRPC would send."""


class Context:
    """The part of a gRPC context that a refusal needs."""

    def abort(self, code: Any, details: str) -> NoReturn:
        raise Refused(code.name, details)


def check(**fields: Any) -> Any:
    """Send a Check of a role without a name."""
    request = provider_pb2.CheckRequest(urn=f"urn:pulumi:dev::p::{ROLE}::r", randomSeed=b"seed", **fields)
    return PostgresqlProvider().Check(request, Context())  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["postgresql:index/publication:Publication", "postgresql:index/function:Function"])
def test_a_kind_that_only_the_real_plugin_has_is_refused_by_name(token: str) -> None:
    with pytest.raises(
        Refused, match=rf"the embedded postgresql plugin does not support {token}\. Install the Pulumi CLI"
    ):
        check(type=token)


def test_a_function_that_no_plugin_has_is_refused_by_name() -> None:
    request = provider_pb2.InvokeRequest(tok="postgresql:index/getRoles:getRoles")
    with pytest.raises(Refused, match=r"unrecognized data function \(Invoke\): postgresql:index/getRoles:getRoles"):
        PostgresqlProvider().Invoke(request, Context())  # type: ignore[arg-type]


def test_the_type_is_read_from_the_urn_where_the_engine_does_not_send_it() -> None:
    """Older engines do not send the type. A parent's type stands before a `$`."""
    assert from_struct(check().inputs)["inherit"] is True


def test_the_name_that_the_engine_proposes_is_taken() -> None:
    options = provider_pb2.CheckRequest.AutonamingOptions(proposed_name="proposed")
    assert from_struct(check(autonaming=options).inputs)["name"] == "proposed"


def test_names_are_not_generated_where_the_engine_forbids_it() -> None:
    options = provider_pb2.CheckRequest.AutonamingOptions(mode=provider_pb2.CheckRequest.AutonamingOptions.DISABLE)
    response = check(autonaming=options)
    assert "name" not in from_struct(response.inputs)
    assert 'The argument "name" is required' in response.failures[0].reason


def test_a_preview_of_a_creation_needs_no_configuration() -> None:
    """The provider's arguments can be unknown."""
    properties = to_struct({"name": "r"}, secrets=False)
    request = provider_pb2.CreateRequest(type=ROLE, properties=properties, preview=True)
    assert PostgresqlProvider().Create(request, Context()).id == ""  # type: ignore[arg-type]
