"""A password as a resource: a secret in the stack's state, created once or replaced in turns with another."""

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
    """Return the connection parameters of `role`, except the password."""
    address = {name: str(getattr(admin, name)) for name in ADDRESS if getattr(admin, name)}
    return address | {"user": role, "dbname": database}


def is_refused(login: Mapping[str, Any], password: str) -> bool:
    """Return whether the server answers that the password is wrong.

    A server that does not answer, or that rejects the login for another reason, does not count.
    """
    # Slow to import, and creating a password does not need it.
    import psycopg

    from pulumi_alembic.database import libpq

    try:
        with libpq.environment_ignored():
            required = libpq.authentication(login)
            psycopg.connect(**login, **required, password=password, connect_timeout=CONNECT_TIMEOUT).close()
    except psycopg.OperationalError as error:
        # libpq has no SQLSTATE for a failed connection. This is the server's message in its default language.
        return "password authentication failed" in str(error)
    return False


BYTES = 24

FORMER = {"a": EXPORTED, "b": RETIRED}
"""The use of each login in a state that has none, written before logins were rotated."""


class PasswordProvider(ResourceProvider):
    """The stateless provider of passwords. Every state file contains its dotted path, which must stay importable."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create a password of 192 random bits in hexadecimal digits, which need no quotes anywhere."""
        return CreateResult("password", {**props, "value": secrets.token_hex(BYTES)})

    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        """Return whether the password must change: in its turn, or if the server rejects it. Otherwise it stays."""
        former = olds.get("use", FORMER.get(news.get("login", "")))
        refused = _is_refused(olds, news)
        if refused:
            role = news["__login"]["user"]
            Log("").warning(f"the server refuses {role} with the password in the state: it gets a new one")
        return DiffResult(changes=refused or bool(news.get("__renew")) or former != news.get("use"))

    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        """Return a new password, or the present one if it is exported and works."""
        keep = news.get("__keep") and not _is_refused(olds, news)
        value = olds["value"] if keep else secrets.token_hex(BYTES)
        return UpdateResult({**news, "value": value})


def _is_refused(olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
    login = news.get("__login") or {}
    return bool(login) and is_refused(login, olds["value"])


class Password(Resource, module="taskdb", name="Password"):
    """A secret `value` that changes only in its `turn`, or if the server rejects it."""

    value: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        turn: Turn | None = None,
        login: Mapping[str, Any] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare the password.

        Args:
            name: The name of the resource.
            turn: The rotation of the login. None for a password that is created once.
            login: The connection parameters of the role with this password. None if the role does not exist yet.
            opts: Pulumi's own options.

        """
        inputs = {"login": turn.login, "use": turn.use, "__renew": turn.renew, "__keep": turn.keep} if turn else {}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        inputs |= {"__login": dict(login)} if login else {}
        super().__init__(
            PasswordProvider(), name, {"value": None, **inputs}, pulumi.ResourceOptions.merge(opts, secret)
        )
