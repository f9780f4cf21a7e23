"""The resource GrantRole: the membership of one role in another."""

from __future__ import annotations

from psycopg.sql import Identifier

from pulumi_embedded.postgresql.connection import Session, Work, identifier
from pulumi_embedded.postgresql.kind import Found, Kind
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type

__all__ = ["GrantRole"]


class GrantRole(Kind):
    """A membership. No property changes in place. Its id contains the member, the role and the admin option."""

    token = "postgresql:index/grantRole:GrantRole"  # noqa: S105
    schema = Schema(
        role=Property(required=True, replaces=True),
        grantRole=Property(required=True, replaces=True),
        withAdminOption=Property(Type.BOOL, default=False, replaces=True),
    )
    delete_before_replace = False
    options = frozenset(["withAdminOption"])

    def create(self, session: Session, change: Change) -> Found:
        """Grant the role. It is revoked first, in the same transaction, to remove an unwanted admin option."""
        option = " WITH ADMIN OPTION" if change["withAdminOption"] else ""
        with session.transaction() as work:
            _revoke(work, change)
            work.run("GRANT {} TO {}" + option, *_roles(change), what="could not execute grant query")
        return self.read(session, "", change) or Found(_id(change, change["withAdminOption"]), {})

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the membership. Two grants of it count as one, with the admin option if either has it."""
        query = (
            "SELECT admin_option FROM pg_auth_members WHERE pg_get_userbyid(member) = %s"
            " AND pg_get_userbyid(roleid) = %s ORDER BY admin_option DESC"
        )
        row = session.direct().row(query, [state["role"], state["grantRole"]], "error reading grant role")
        return Found(_id(state, row[0]), {"withAdminOption": row[0]}) if row else None

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Not called, because every property requires a replacement."""
        return self.create(session, change)

    def delete(self, session: Session, state: Change) -> None:
        """Revoke the role. A missing membership is no error, but a missing role is."""
        with session.transaction() as work:
            _revoke(work, state)


def _roles(change: Change) -> tuple[Identifier, Identifier]:
    return identifier(change["grantRole"]), identifier(change["role"])


def _revoke(work: Work, change: Change) -> None:
    work.run("REVOKE {} FROM {}", *_roles(change), what="could not execute revoke query")


def _id(change: Change, with_admin_option: bool) -> str:
    return f"{change['role']}_{change['grantRole']}_{str(with_admin_option).lower()}"
