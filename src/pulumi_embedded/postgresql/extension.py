"""The resource Extension: an extension in one database."""

from __future__ import annotations

from psycopg import sql

from pulumi_embedded.postgresql.connection import Session, Work, identifier
from pulumi_embedded.postgresql.kind import Found, Kind, there
from pulumi_embedded.postgresql.membership import database_exists
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type
from pulumi_embedded.postgresql.schema import locate

__all__ = ["Extension"]


class Extension(Kind):
    """An extension. If it exists before the resource, it stays in its schema and is reported as it is."""

    token = "postgresql:index/extension:Extension"  # noqa: S105
    schema = Schema(
        name=Property(autonamed=True, replaces=True),
        schema=Property(computed=True),
        version=Property(computed=True),
        database=Property(computed=True, replaces=True),
        dropCascade=Property(Type.BOOL, default=False),
        createCascade=Property(Type.BOOL, default=False),
    )

    def create(self, session: Session, change: Change) -> Found:
        """Create the extension in the program's schema and version, otherwise in its own schema or in public."""
        database = change["database"] or session.configuration.database
        parts: list[sql.Composable] = [sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(identifier(change["name"]))]
        with session.transaction(database) as work:
            schema = change["schema"] or _default_schema(work, change)
            for keyword, value in (("SCHEMA", schema), ("VERSION", change["version"])):
                if value:
                    parts.append(sql.SQL(keyword + " {}").format(identifier(value)))
            if change["createCascade"]:
                parts.append(sql.SQL("CASCADE"))
            work.run("{}", sql.SQL(" ").join(parts))
        return there(_read(session, database, change["name"]), "extension", change["name"])

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the extension. None if it or its database is gone."""
        database, name = locate(session, resource_id, state, "extension")
        return _read(session, database, name) if database_exists(session.direct(), database) else None

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Move and update the extension in one transaction."""
        database, name = change["database"] or session.configuration.database, identifier(change["name"])
        with session.transaction(database) as work:
            if change.changed("schema"):
                text = "error updating extension SCHEMA"
                work.run("ALTER EXTENSION {} SET SCHEMA {}", name, identifier(change["schema"]), what=text)
            if change.changed("version"):
                text = "error updating extension version"
                work.run("ALTER EXTENSION {} UPDATE TO {}", name, identifier(change["version"]), what=text)
        return there(_read(session, database, change["name"]), "extension", change["name"])

    def delete(self, session: Session, state: Change) -> None:
        """Drop the extension. Without `dropCascade`, one with dependent objects is not dropped."""
        mode = "CASCADE" if state["dropCascade"] else "RESTRICT"
        with session.transaction(state["database"]) as work:
            work.run("DROP EXTENSION {} " + mode, identifier(state["name"]))


def _default_schema(work: Work, change: Change) -> str:
    """Return the schema of an extension without its own. The session's search_path has no usable one."""
    query = (
        "SELECT 1 FROM pg_available_extension_versions JOIN pg_available_extensions USING (name)"
        " WHERE name = %s AND version = COALESCE(NULLIF(%s, ''), default_version) AND schema IS NULL"
    )
    return "public" if work.row(query, [change["name"], change["version"] or ""]) else ""


def _read(session: Session, database: str, name: str) -> Found | None:
    query = (
        "SELECT nspname, extversion FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace WHERE extname = %s"
    )
    row = session.direct(database).row(query, [name], "error reading extension")
    if row is None:
        return None
    return Found(f"{database}.{name}", {"name": name, "database": database, "schema": row[0], "version": row[1]})
