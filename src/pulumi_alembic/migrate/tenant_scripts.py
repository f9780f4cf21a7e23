"""Scripts of tenants: a statement that reaches beyond the tenant's schema is refused before it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from pulumi_alembic.database.connection import VERSION_SCHEMA, own_rows
from pulumi_alembic.database.tenant import schema_of, version_table
from pulumi_alembic.errors import HistoryError
from pulumi_alembic.migrate.data_loss.guard import written
from pulumi_alembic.sql.schema_names import beyond_schema

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection, Session
    from pulumi_alembic.migrate.step_follower import Running

__all__ = ["WHY", "follow", "other_schemas"]

WHY = (
    "The scripts of tenants name no schema, because each tenant's has another name: the search_path begins with it. "
    "Remove the name from the script, or do it once for the database, outside of the scripts"
)

_SCHEMAS = r"SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_'"

_BODY = re.compile(r"(?i)\b(?:do|function|procedure)\b")


def other_schemas(connection: Connection) -> list[str]:
    """Return the names of the database's schemas, which bodies of functions can contain."""
    return [name for (name,) in connection.execute(_SCHEMAS.encode())]


def follow(engine: sa.Engine, session: Session, running: Running) -> None:
    """Check every statement of scripts that is sent through `engine`, if the session is a tenant's."""
    schema = schema_of(session)
    if not schema:
        return
    own = f"{VERSION_SCHEMA}.{version_table(schema)}"
    schemas: list[str] = []

    def before(_: object, __: object, text: str, parameters: Any, ___: object, many: bool) -> None:
        aborted = session.info.transaction_status == TransactionStatus.INERROR
        if running.step is None or aborted or own in text.replace('"', "").replace("%%", "%"):
            return
        if not schemas and _BODY.search(text):
            with own_rows(session):
                schemas.extend(other_schemas(session))
        if beyond := beyond_schema(written(text, parameters, many=many), schemas):
            running.refuse(HistoryError(f"it {beyond}. {WHY}"))

    sa.event.listen(engine, "before_cursor_execute", before)
