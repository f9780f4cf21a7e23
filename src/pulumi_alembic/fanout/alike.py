"""Find the tenants with equal plans by a few queries for all of them, so that one plan is made for each group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA, connect
from pulumi_alembic.database.tenant import version_table
from pulumi_alembic.ledger import ledger
from pulumi_alembic.scripts.revision import CONTRACT

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.scripts.history import History

__all__ = ["alike"]

_AT_ONCE = 100
"""Version tables that one query reads. Each takes a lock of its own, and the server's table of locks is limited."""

_FIT = """
SELECT name FROM unnest(%s::text[]) AS name JOIN pg_namespace n ON nspname = name
WHERE has_schema_privilege(n.oid, 'USAGE, CREATE') AND EXISTS (
    SELECT FROM pg_depend WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid AND deptype = 'n'
)
"""
"""The tenants whose schema has objects, and can be used."""

_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(%s)"

_RUNS = f"""
WITH {ledger.STANDING}, last AS (
    SELECT DISTINCT ON (tenant, revision) tenant, revision, direction, checksum, down_revisions FROM standing
    WHERE event IN ('applied', 'accepted', 'adopted') ORDER BY tenant, revision, id DESC
)
SELECT tenant, encode(sha256(convert_to(
    jsonb_agg(jsonb_build_array(revision, direction, checksum, down_revisions) ORDER BY revision)::text, 'UTF8'
)), 'hex')
FROM last GROUP BY tenant
"""  # noqa: S608 - no value is put into it
"""What `integrity.read_runs` reads, as one digest for each tenant."""


def alike(url: str, schemas: Sequence[str], history: History) -> list[list[int]]:
    """Return groups of tenants, by their numbers. The plans of a group are equal, so one of them is enough.

    They are equal if the tenants have the same heads and the same last runs. A tenant is alone if its plan can depend
    on more: on stored scripts, on the time of a contract, or on an error that names it.

    Args:
        url: The database.
        schemas: The tenants' schemas.
        history: The scripts.

    """
    groups: dict[object, list[int]] = {}
    with connect(url) as connection:
        connection.autocommit = True
        fit = {name for (name,) in connection.execute(_FIT, [list(schemas)])}
        heads = dict(_heads(connection, schemas))
        runs: dict[str, str] = {}
        if "tenant" in ledger.columns(connection):
            query = sql.SQL(_RUNS).format(table=ledger.TABLE, ours=sql.SQL("tenant IS NOT NULL"))
            runs = dict(connection.execute(query).fetchall())
    dated = any(revision.phase == CONTRACT for revision in history.revisions.values())
    for number, name in enumerate(schemas):
        at = heads.get(name, ())
        same = name in fit and not dated and history.revisions.keys() >= set(at)
        groups.setdefault((at, runs.get(name)) if same else number, []).append(number)
    return list(groups.values())


def _heads(connection: Connection, schemas: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the heads of each tenant that has any."""
    tables = {name for (name,) in connection.execute(_TABLES, [VERSION_SCHEMA])}
    one = "SELECT {}, array_agg(version_num::text ORDER BY version_num) FROM {} HAVING count(*) > 0"
    found = [name for name in schemas if version_table(name) in tables]
    for names in (found[first : first + _AT_ONCE] for first in range(0, len(found), _AT_ONCE)):
        parts = [
            sql.SQL(one).format(sql.Literal(name), sql.Identifier(VERSION_SCHEMA, version_table(name)))
            for name in names
        ]
        for name, versions in connection.execute(sql.SQL(" UNION ALL ").join(parts)):
            yield name, tuple(versions)
