"""A password as a resource: made once, kept as a secret in the stack's state, in no file."""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

__all__ = ["Password", "PasswordProvider"]

BYTES = 24


class PasswordProvider(ResourceProvider):
    """Stateless. Its dotted path is written into every state file: it must stay importable for ever."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make a password of 192 random bits, of letters, digits, '-' and '_' alone: it needs no quoting anywhere."""
        return CreateResult("password", {**props, "value": secrets.token_urlsafe(BYTES)})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Never a change: a password stays for as long as its resource."""
        return DiffResult(changes=False)


class Password(Resource, module="taskdb", name="Password"):
    """`value` is a secret that does not change from one update to the next."""

    value: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the resource `name`; it has no arguments."""
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(PasswordProvider(), name, {"value": None}, pulumi.ResourceOptions.merge(opts, secret))
