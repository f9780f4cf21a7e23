"""A password as a resource: made once, or in turns with another, kept as a secret in the stack's state, in no file."""

from __future__ import annotations

import secrets
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from taskdb.rotation import EXPORTED, RETIRED, Turn

__all__ = ["Password", "PasswordProvider"]

BYTES = 24

FORMER = {"a": EXPORTED, "b": RETIRED}
"""What the two are in a state that does not say: one of before they took turns."""


class PasswordProvider(ResourceProvider):
    """Stateless. Its dotted path is written into every state file: it must stay importable for ever."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make a password of 192 random bits, of letters, digits, '-' and '_' alone: it needs no quoting anywhere."""
        return CreateResult("password", {**props, "value": secrets.token_urlsafe(BYTES)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """No change but in its turn: another password stays for as long as its resource."""
        former = olds.get("use", FORMER.get(news.get("login", "")))
        return DiffResult(changes=bool(news.get("__renew")) or former != news.get("use"))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """A new password, unless the one that there is is exported."""
        value = olds["value"] if news.get("__keep") else secrets.token_urlsafe(BYTES)
        return UpdateResult({**news, "value": value})


class Password(Resource, module="taskdb", name="Password"):
    """`value` is a secret that does not change from one update to the next, or only where it is its `turn`."""

    value: pulumi.Output[str]

    def __init__(self, name: str, turn: Turn | None = None, opts: pulumi.ResourceOptions | None = None) -> None:
        """Create the resource `name`."""
        taken = {"login": turn.login, "use": turn.use, "__renew": turn.renew, "__keep": turn.keep} if turn else {}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(PasswordProvider(), name, {"value": None, **taken}, pulumi.ResourceOptions.merge(opts, secret))
