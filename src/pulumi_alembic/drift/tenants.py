"""Drift of tenants: what each tenant's schema should contain, without its own name, so that tenants can be compared.

One snapshot of the database is read for all tenants. What is above the objects of a schema is no part of a tenant's
snapshot: the schema itself, roles, default privileges.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.database.tenant import SETTING, version_table
from pulumi_alembic.drift.check import Comparison
from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.difference.snapshot import HEADS, SERVER, Item, Snapshot
from pulumi_alembic.drift.reader import read_between_transactions
from pulumi_alembic.drift.report import lines, reported
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.ledger.table import TABLE

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection, Session
    from pulumi_alembic.scripts.origin import Origin

__all__ = ["Drifted", "accept", "compare", "drifted", "expect", "read", "split"]

_ABOVE = {"database", "default privileges", "extension", "membership", "role", "schema", "setting", HEADS, SERVER}
"""Kinds of items that are not in a schema."""

_PREFIX = re.compile(r'("(?:[^"]|"")+"|[^."]+)\.')

_EXPECTED = """
SELECT DISTINCT ON (tenant) tenant, checksum, applied_at::timestamptz(0)::text FROM {table}
WHERE tenant = ANY (%s) AND event IN ('snapshot', 'drift accepted')
ORDER BY tenant, id DESC
"""

_STORED = """
SELECT source FROM {table}
WHERE event IN ('snapshot', 'drift accepted') AND tenant IS NOT NULL AND checksum = %s AND source IS NOT NULL
ORDER BY id DESC LIMIT 1
"""

_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = to_regnamespace(%s)"


@dataclass(frozen=True)
class Drifted:
    """Tenants with the same differences from what their last update left.

    Attributes:
        names: The schemas.
        differences: The differences by name, as lines.
        upgrade: Advice if PostgreSQL was upgraded. Empty otherwise.

    """

    names: tuple[str, ...]
    differences: Mapping[str, Sequence[str]]
    upgrade: str


def read(connection: Session, schemas: Sequence[str]) -> dict[str, Snapshot]:
    """Return the current snapshot of each tenant. No transaction is open afterwards."""
    tables = {name for (name,) in connection.execute(_TABLES, [VERSION_SCHEMA])}
    heads: dict[str, tuple[str, ...]] = {}
    for schema in schemas:
        table = version_table(schema)
        if table in tables:
            query = sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_SCHEMA, table))
            heads[schema] = tuple(sorted(head for (head,) in connection.execute(query)))
    connection.rollback()
    return split(read_between_transactions(connection), schemas, heads)


def split(
    whole: Snapshot,
    schemas: Collection[str],
    heads: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> dict[str, Snapshot]:
    """Return the part of a database's snapshot that is in each schema, with the schema's name removed.

    The name is also removed within texts, such as a function's definition. So a literal that contains it is not
    compared to the letter.

    Args:
        whole: The snapshot of the database.
        schemas: The schemas.
        heads: The heads of each tenant.

    """
    names = {_quoted(schema): schema for schema in schemas}
    items: dict[str, list[Item]] = {}
    for schema in schemas:
        items[schema] = [Item(SERVER, whole.server), *(Item(HEADS, head) for head in heads.get(schema, ()))]
    prefixes = {quoted: re.compile(rf'(?<![\w"$.]){re.escape(quoted)}\.') for quoted in names}
    for item in whole.items:
        prefix = _PREFIX.match(str(item.facts.get("object", item.name)))
        if item.kind not in _ABOVE and prefix and (schema_name := names.get(prefix[1])):
            pattern = prefixes[prefix[1]]
            items[schema_name].append(Item(item.kind, pattern.sub("", item.name), _without(pattern, item.facts)))
    return {schema: Snapshot(tuple(found)) for schema, found in items.items()}


def expect(
    connection: Connection,
    before: Mapping[str, Snapshot],
    after: Mapping[str, Snapshot],
    origin: Origin,
) -> list[str]:
    """Store what each tenant should contain after an update: what it should have before, and what the update changed.

    Does not commit.

    Args:
        connection: A session of the database.
        before: The snapshots before the update.
        after: The snapshots after it.
        origin: Who updated, from where.

    Returns:
        The tenants whose expected snapshot is unknown, or that were moved outside of the stack. What they contain now
        is expected from now on.

    """
    if "tenant" not in ledger.columns(connection):
        return []
    digests = _expected(connection, after)
    stored: dict[str, Snapshot | None] = {}
    moved: list[str] = []
    for schema, now in after.items():
        digest = digests.get(schema, "")
        if digest and digest not in stored:
            stored[digest] = _find(connection, digest)
        expected, then = stored.get(digest), before[schema]
        if expected is None:
            new = now
            moved += [schema] if digest else []
        elif then.heads == expected.heads:
            new = expected.moved(then, now)
        elif now.heads == expected.heads:
            new = expected
        else:
            new = now
            moved.append(schema)
        if new.digest != digest:
            # Tenants share what they have in common: only the first row has the text.
            packed = None if stored.get(new.digest) else new.packed()
            stored[new.digest] = new
            _keep(connection, schema, new, packed, origin)
    return moved


def drifted(connection: Connection, found: Mapping[str, Snapshot], ignore: Sequence[str]) -> list[Drifted]:
    """Return the tenants that differ from what their last update left, those with equal differences together.

    A tenant without an expected snapshot, or at another revision than that, is not compared.

    Args:
        connection: A session of the database.
        found: The current snapshots.
        ignore: Patterns of what is not compared, without a schema's name.

    """
    if "tenant" not in ledger.columns(connection):
        return []
    groups: dict[str, tuple[list[str], dict[str, list[str]], str]] = {}
    compared: dict[tuple[str, str], tuple[dict[str, list[str]], str]] = {}
    digests = _expected(connection, found)
    for schema, now in found.items():
        digest = digests.get(schema, now.digest)
        if digest == now.digest:
            continue
        if (digest, now.digest) not in compared:
            expected = _find(connection, digest)
            same = expected is not None and expected.heads == now.heads
            whole = difference(expected, now, ignore) if expected is not None and same else None
            compared[digest, now.digest] = (lines(reported(whole)), whole.upgrade) if whole else ({}, "")
        differences, upgrade = compared[digest, now.digest]
        if differences:
            groups.setdefault(repr(differences), ([], differences, upgrade))[0].append(schema)
    return [Drifted(tuple(names), differences, upgrade) for names, differences, upgrade in groups.values()]


def compare(connection: Session, schema: str, ignore: Sequence[str] = ()) -> Comparison:
    """Compare one tenant with what its last update left there. Its expected digest is empty if there is none.

    Args:
        connection: A session of the database.
        schema: The tenant's schema.
        ignore: Patterns of what is not compared, without the schema's name.

    """
    [found] = read(connection, [schema]).values()
    rows = []
    if "tenant" in ledger.columns(connection):
        rows = connection.execute(sql.SQL(_EXPECTED).format(table=TABLE), [[schema]]).fetchall()
    digest, when = rows[0][1:] if rows else ("", "")
    expected = _find(connection, digest) if digest else None
    if expected is None or expected.heads != found.heads:
        return Comparison(digest, found, moved=expected is not None, when=when)
    return Comparison(digest, found, difference(expected, found, ignore), when=when)


def accept(connection: Connection, schema: str, seen: Comparison, origin: Origin, detail: Mapping[str, Any]) -> None:
    """Record that a person accepted a tenant's drift: what was found is expected from now on. Does not commit."""
    run = Run(seen.found.heads, seen.found.heads)
    _add(connection, schema, Row(Event.DRIFT_ACCEPTED, run, detail), origin, seen.found.packed(), seen.found.digest)


def _expected(connection: Connection, schemas: Collection[str]) -> dict[str, str]:
    rows = connection.execute(sql.SQL(_EXPECTED).format(table=TABLE), [list(schemas)])
    return {schema: digest for schema, digest, _ in rows}


def _find(connection: Connection, digest: str) -> Snapshot | None:
    row = connection.execute(sql.SQL(_STORED).format(table=TABLE), [digest]).fetchone()
    try:
        snapshot = Snapshot.unpack(bytes(row[0])) if row else None
    except ValueError:
        return None
    return snapshot if snapshot and snapshot.digest == digest else None


def _keep(connection: Connection, schema: str, snapshot: Snapshot, packed: bytes | None, origin: Origin) -> None:
    run = Run(snapshot.heads, snapshot.heads)
    _add(connection, schema, Row(Event.SNAPSHOT, run), origin, packed, snapshot.digest)


def _add(connection: Connection, schema: str, row: Row, origin: Origin, packed: bytes | None, digest: str) -> None:
    """Add a row for the tenant. Its column `tenant` gets the session's setting by default."""
    connection.execute("SELECT set_config(%s, %s, false)", [SETTING, schema])
    ledger.note(connection, row, origin, digest, packed)
    connection.execute("SELECT set_config(%s, '', false)", [SETTING])


def _without(pattern: re.Pattern[str], value: Any) -> Any:
    if isinstance(value, str):
        return pattern.sub("", value)
    if isinstance(value, Mapping):
        return {name: _without(pattern, part) for name, part in value.items()}
    return [_without(pattern, part) for part in value] if isinstance(value, list) else value


def _quoted(schema: str) -> str:
    from pulumi_alembic.sql.catalog import quoted

    return quoted(schema)
