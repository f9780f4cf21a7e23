"""The roles of one database: an owner and two groups that cannot log in, and the logins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_postgresql as postgresql

from taskdb.chain import Chain
from taskdb.connection_limit import NO_LIMIT
from taskdb.passwords import Password
from taskdb.rotation import Turn
from taskdb.settings import Settings

__all__ = ["APP_SCHEMA", "Login", "Roles"]

APP_SCHEMA = "app"

APP_STATEMENT_TIMEOUT = 5_000  # milliseconds
MIGRATOR_IDLE_TIMEOUT = 600_000  # milliseconds: a revision in Python can compute between two statements


@dataclass(frozen=True)
class Login:
    """A role that can log in, with its name in the stack and its password."""

    name: str
    role: postgresql.Role
    password: pulumi.Output[str]


class Roles:
    """The roles of a database. Their names begin with the database's name.

    The groups have the privileges, which their logins inherit.

    Attributes:
        owner: Owns the schemas.
        rw: The group that reads and writes.
        ro: The group that reads.
        migrator: Can become the owner, and has no other right.
        apps: The application's logins `a` and `b`. There are two so that a password changes without downtime.
        reader: Reads the application's tables.
        reporter: Reads what reports need, but no row. None unless it is requested.

    """

    def __init__(
        self,
        chain: Chain,
        settings: Settings,
        turns: Sequence[Turn],
        known: Mapping[str, Mapping[str, Any]],
        limit: int,
        parent: pulumi.Resource,
    ) -> None:
        """Declare the roles.

        The admin becomes a member of each login, because only a member can end its sessions when the database is
        dropped.

        Args:
            chain: Creates the resources.
            settings: The stack's settings. With `protect` no role can be deleted.
            turns: The rotation of the application's logins.
            known: The connection parameters of the logins that the server has already.
            limit: The limit of sessions of each application login and of the reader.
            parent: The parent of the passwords.

        """
        self._chain, self._prefix, self._parent = chain, settings.database, parent
        self._options = pulumi.ResourceOptions(protect=settings.protect or None)
        self._known = known
        self.owner = self._group("owner")
        self.rw = self._group("rw")
        self.ro = self._group("ro")
        self.migrator = self._login(
            "migrator",
            self.owner,
            # Without rights of its own, a session that fails to become the owner can do nothing.
            inherit=False,
            assume_role=self.owner.name,
            idle_in_transaction_session_timeout=MIGRATOR_IDLE_TIMEOUT,
        )
        # Omitted if there is no limit, as the first release did.
        limited: dict[str, Any] = {} if limit == NO_LIMIT else {"connection_limit": limit}
        limited |= {"statement_timeout": APP_STATEMENT_TIMEOUT}
        self.apps = {turn.login: self._login(f"app_{turn.login}", self.rw, turn, **limited) for turn in turns}
        self.reader = self._login("reader", self.ro, **limited)
        # A member of no group, so it can read no row.
        self.reporter = (
            self._login("reporter", None, statement_timeout=APP_STATEMENT_TIMEOUT) if settings.reporter else None
        )
        for login in filter(None, (self.migrator, *self.apps.values(), self.reader, self.reporter)):
            self._let_end_sessions_of(login, settings.admin.username)

    def _group(self, name: str) -> postgresql.Role:
        return self._chain.add(postgresql.Role, name, name=f"{self._prefix}_{name}", options=self._options)

    def _login(self, name: str, member_of: postgresql.Role | None, turn: Turn | None = None, **settings: Any) -> Login:
        known_password = self._known.get(f"{self._prefix}_{name}")
        password = Password(name, turn, known_password, pulumi.ResourceOptions(parent=self._parent)).value
        role = self._chain.add(
            postgresql.Role,
            name,
            name=f"{self._prefix}_{name}",
            login=True,
            password=password,
            # Listed here instead of a GrantRole, because the provider's update of a role revokes unlisted memberships.
            roles=[member_of.name] if member_of else None,
            search_paths=[APP_SCHEMA],
            options=self._options,
            **settings,
        )
        return Login(name, role, password)

    def _let_end_sessions_of(self, login: Login, admin: str) -> None:
        self._chain.add(
            postgresql.GrantRole,
            f"admin-{login.name}",
            role=admin,
            grant_role=login.role.name,
            # From 16 on the creator of a role is a member with the admin option, which is read as a change.
            options=pulumi.ResourceOptions(delete_before_replace=True, ignore_changes=["withAdminOption"]),
        )
