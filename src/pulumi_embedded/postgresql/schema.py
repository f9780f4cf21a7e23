"""The resource Schema: a schema of one database and its owner."""

from __future__ import annotations

from pulumi_embedded.postgresql.connection import Session, Work, identifier
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.kind import Found, Kind, rename
from pulumi_embedded.postgresql.membership import (
    database_exists,
    database_owner,
    name_of,
    oid_of,
    schema_exists,
    with_roles,
)
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type, Values

__all__ = ["SchemaKind", "locate"]


class SchemaKind(Kind):
    """A schema. It is renamed in place, which changes its id `DATABASE.NAME`."""

    token = "postgresql:index/schema:Schema"  # noqa: S105
    schema = Schema(
        name=Property(autonamed=True),
        database=Property(computed=True, replaces=True),
        owner=Property(computed=True),
        ifNotExists=Property(Type.BOOL, default=True),
        dropCascade=Property(Type.BOOL, default=False),
        policies=Property(Type.OBJECTS, computed=True, upstream="policy"),
    )

    def identified(self, resource_id: str, state: Values) -> Values:
        """Return the state with the name in its id, after the database's."""
        id, database = str(state.get("id") or resource_id), f"{state.get('database')}."
        return state | {"name": id.removeprefix(database)} if state and id.startswith(database) else state

    def create(self, session: Session, change: Change) -> Found:
        """Create the schema. An existing one is taken over and gets the owner."""
        _refuse_policies(change)
        database = change["database"] or session.configuration.database
        with session.transaction(database) as work:
            owner = database_owner(work, database)
            roles = [owner] + [role for role in [change["owner"]] if role and role != owner]
            with with_roles(work, roles):
                _create(work, change)
        return _read(session, database, change["name"], change)

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the schema. None if it or its database is gone."""
        database, name = locate(session, resource_id, state, "schema")
        if not database_exists(session.direct(), database) or not schema_exists(session.direct(database), name):
            return None
        return _read(session, database, name, state)

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Rename the schema and change its owner. The connected user must be a member of both owners."""
        _refuse_policies(change)
        database = change["database"] or session.configuration.database
        session.mark = oid_of(session.direct(database), "pg_namespace", change.old("name"))
        with session.transaction(database) as work:
            rename(work, change, "schema", "NAME")
            _set_owner(work, change)
        return _read(session, database, change["name"], change)

    def left(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the schema by its oid, because a lost transaction can have renamed it."""
        database = state["database"] or session.configuration.database
        name = name_of(session.direct(database), "pg_namespace", session.mark)
        return _read(session, database, name, state) if name else None

    def delete(self, session: Session, state: Change) -> None:
        """Drop the schema. A missing one is no error. Without `dropCascade`, a schema with objects is an error."""
        name, mode = state["name"], "CASCADE" if state["dropCascade"] else "RESTRICT"
        with session.transaction(state["database"]) as work:
            if schema_exists(work, name):
                with with_roles(work, [role for role in [state["owner"]] if role]):
                    work.run("DROP SCHEMA {} " + mode, identifier(name), what="error deleting schema")


def locate(session: Session, resource_id: str, state: Change, noun: str) -> tuple[str, str]:
    """Return the database and name from `state` or, for an import, from the id `DATABASE.NAME`."""
    if state["name"]:
        return state["database"] or session.configuration.database, state["name"]
    parts = resource_id.split(".")
    if len(parts) != 2:
        raise ProviderError(f"{noun} ID {resource_id} has not the expected format 'database.{noun}': {parts}")
    return parts[0], parts[1]


def _refuse_policies(change: Change) -> None:
    if change["policies"] and change.changed("policies"):
        raise ProviderError(
            f"schema {change['name']}: the embedded postgresql plugin does not support the deprecated property "
            'policies. Replace each policy with a postgresql.Grant with object_type="schema", or run `pulumi`, whose '
            "own plugin supports it"
        )


def _create(work: Work, change: Change) -> None:
    name = change["name"]
    if schema_exists(work, name):
        _set_owner(work, change)
        return
    start = "CREATE SCHEMA IF NOT EXISTS {}" if change["ifNotExists"] else "CREATE SCHEMA {}"
    if change["owner"]:
        owner = identifier(change["owner"])
        work.run(start + " AUTHORIZATION {}", identifier(name), owner, what=f"error creating schema {name}")
    else:
        work.run(start, identifier(name), what=f"error creating schema {name}")


def _set_owner(work: Work, change: Change) -> None:
    if change.changed("owner"):
        parts = identifier(change["name"]), identifier(change["owner"])
        work.run("ALTER SCHEMA {} OWNER TO {}", *parts, what="error updating schema OWNER")


def _read(session: Session, database: str, name: str, state: Change) -> Found:
    query = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = %s"
    row = session.direct(database).row(query, [name], "error reading schema")
    owner = row[0] if row else state["owner"]
    values = {"name": name, "database": database, "owner": owner, "policies": state["policies"]}
    return Found(f"{database}.{name}", values)
