"""A password as a resource: a secret in the stack's state, created once or in turns with another."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from pulumi_alembic.stack.log import Log
from taskdb.rotation import EXPORTED, RETIRED, Turn

__all__ = ["Password", "PasswordProvider", "is_refused", "login_inputs"]

CONNECT_TIMEOUT = 5  # seconds
ADDRESS = ("host", "port", "sslmode", "sslrootcert")


def login_inputs(admin: Any, role: str, database: str) -> dict[str, Any]:
    """Everything needed to log in as `role`, except the password."""
    address = {name: str(getattr(admin, name)) for name in ADDRESS if getattr(admin, name)}
    return address | {"user": role, "dbname": database}


def is_refused(login: Mapping[str, Any], password: str) -> bool:
    """Whether the server answers that this is not the login's password.

    A server that does not answer, or that refuses the login for another reason, says nothing about the password.
    """
    # Slow to import, and not needed to create a password.
    import psycopg

    from pulumi_alembic.database import libpq

    try:
        with libpq.environment_ignored():
            required = libpq.authentication(login)
            psycopg.connect(**login, **required, password=password, connect_timeout=CONNECT_TIMEOUT).close()
    except psycopg.OperationalError as error:
        # libpq keeps no SQLSTATE of a failed connection; these are the server's words in its default language.
        return "password authentication failed" in str(error)
    return False


BYTES = 24

FORMER = {"a": EXPORTED, "b": RETIRED}
"""What the two are in a state that does not say: one of before they took turns."""


class PasswordProvider(ResourceProvider):
    """Stateless. Its dotted path is written into every state file: it must stay importable for ever."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create a password of 192 random bits in hexadecimal digits: no quotes are needed anywhere."""
        return CreateResult("password", {**props, "value": secrets.token_hex(BYTES)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """A change only in its turn, or if the server refuses the password: otherwise it stays with its resource."""
        former = olds.get("use", FORMER.get(news.get("login", "")))
        refused = _is_refused(olds, news)
        if refused:
            role = news["__login"]["user"]
            Log("").warning(f"the server refuses {role} with the password in the state: it gets a new one")
        return DiffResult(changes=refused or bool(news.get("__renew")) or former != news.get("use"))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """A new password, unless the present one is exported and works."""
        keep = news.get("__keep") and not _is_refused(olds, news)
        value = olds["value"] if keep else secrets.token_hex(BYTES)
        return UpdateResult({**news, "value": value})


def _is_refused(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    login = news.get("__login") or {}
    return bool(login) and is_refused(login, olds["value"])


class Password(Resource, module="taskdb", name="Password"):
    """A secret `value` that changes only if it is its `turn`."""

    value: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        turn: Turn | None = None,
        login: Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the resource `name`. `login` says how the role logs in that has this password, if it exists."""
        inputs = {"login": turn.login, "use": turn.use, "__renew": turn.renew, "__keep": turn.keep} if turn else {}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        inputs |= {"__login": dict(login)} if login else {}
        super().__init__(
            PasswordProvider(), name, {"value": None, **inputs}, pulumi.ResourceOptions.merge(opts, secret)
        )
