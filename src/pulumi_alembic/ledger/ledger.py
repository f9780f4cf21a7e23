"""Rows of the ledger: add one for each event, and read what was begun. Rows are only ever added."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.ledger.table import TABLE, Event, columns, ours, prepare
from pulumi_alembic.scripts.plan import Direction

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.scripts.history import History
    from pulumi_alembic.scripts.origin import Origin
    from pulumi_alembic.scripts.revision import Revision

__all__ = [
    "STANDING",
    "TABLE",
    "Attempt",
    "Event",
    "Row",
    "Run",
    "adopt",
    "attempts",
    "columns",
    "has_built",
    "note",
    "prepare",
    "ran",
    "record",
    "standing",
]


@dataclass(frozen=True)
class Run:
    """Facts about a run apart from its script.

    Attributes:
        before: the heads before the run.
        after: the heads after it.
        statements: how many the script sent.
        backup: the id of the backup that was taken before.

    """

    before: Sequence[str]
    after: Sequence[str]
    seconds: float | None = None
    statements: int | None = None
    backup: str = ""


@dataclass(frozen=True)
class Row:
    """An event, and facts about it apart from the script.

    Attributes:
        phase: which of the revision's statements outside a transaction, from 1.
        statement: the text of that statement.

    """

    event: Event
    run: Run | None = None
    detail: Mapping[str, Any] | None = None
    phase: int | None = None
    statement: str | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The row's values by column."""
        values: dict[str, Any] = {"event": self.event.value, "phase": self.phase, "statement": self.statement}
        values["detail"] = None if self.detail is None else json.dumps(self.detail)
        if run := self.run:
            values |= {"heads_before": _array(sorted(run.before)), "heads_after": _array(sorted(run.after))}
            values |= {"seconds": run.seconds, "statements": run.statements, "backup": run.backup or None}
        return values


@dataclass(frozen=True)
class Attempt:
    """A statement outside a transaction, begun since its revision was last applied.

    `id` is that of its intent's row.
    """

    id: int
    revision: str
    direction: str
    phase: int
    statement: str
    detail: dict[str, Any]
    done: bool


_COLUMNS = (
    *(
        "revision",
        "direction",
        "down_revisions",
        "checksum",
        "source",
        "tools",
        "event",
        "phase",
        "statement",
        "detail",
    ),
    *("heads_before", "heads_after", "stack", "commit", "person", "seconds", "statements", "backup"),
)

_INSERT = (
    sql.SQL("INSERT INTO {table} ({columns}) VALUES ({values}) RETURNING id")
    .format(
        table=TABLE,
        columns=sql.SQL(", ").join(map(sql.Identifier, _COLUMNS)),
        values=sql.SQL(", ").join(sql.Placeholder() for _ in _COLUMNS),
    )
    .as_bytes()
)

_COPY = sql.SQL("COPY {} ({}) FROM STDIN").format(TABLE, sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))).as_bytes()
"""For many rows: each INSERT would cost as much as a small table."""

STANDING = """
restored AS MATERIALIZED (
    SELECT id, (detail ->> 'ledger')::bigint AS kept FROM {table} WHERE event = 'restored'
),
standing AS NOT MATERIALIZED (
    SELECT * FROM {table} row
    WHERE {ours} AND NOT EXISTS (SELECT FROM restored WHERE row.id > kept AND row.id < restored.id)
)
"""
"""For a WITH clause: `standing` is the ledger without the rows that a restored backup has undone.

A backup is restored for all tenants. `ours` is `table.ours`, the condition for the rows that the session is about.
"""

_ATTEMPTS = f"""
WITH {STANDING}
SELECT intent.id, intent.revision, intent.direction, intent.phase, intent.statement,
    coalesce(intent.detail, '{{{{}}}}'),
    EXISTS (
        SELECT FROM standing done WHERE done.event = 'done' AND (done.detail ->> 'intent')::bigint = intent.id
    )
FROM standing intent
WHERE event = 'intent' AND NOT EXISTS (
    SELECT FROM standing later
    WHERE later.event = 'applied' AND later.revision = intent.revision AND later.id > intent.id
)
ORDER BY intent.id
"""  # noqa: S608 - no value is put into it


def record(
    connection: Connection, revision: Revision, direction: Direction, tools: str, row: Row, origin: Origin
) -> int:
    """Add one row for a revision, and return its id. Does not commit.

    The row of a run belongs in the transaction of the run, so that both are committed or neither. `prepare` must have
    created the table.

    Args:
        connection: the session of the run.
        revision: whose script ran.
        direction: in which direction.
        tools: versions of the tools, as a JSON object.
        row: the event.
        origin: who ran it, from where.

    """
    return _insert(connection, _script(revision, direction, tools) | row.values, origin)


def adopt(
    connection: Connection, history: History, heads: Sequence[str], origin: Origin, detail: Mapping[str, Any]
) -> None:
    """Add a row for each of these heads and all that they build on, because the database already is what they build.

    None of them is run. Does not commit. `prepare` must have created the table.

    Args:
        connection: a session of the database.
        history: the scripts.
        heads: the heads to adopt.
        origin: who adopts them, from where.
        detail: the detail of each row.

    """
    before: set[str] = set()
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for id in history.ancestors(heads):
            revision = history.revisions[id]
            after = before - set(revision.down_revisions) | {id}
            row = Row(Event.ADOPTED, Run(sorted(before), sorted(after)), detail)
            copy.write_row(_values(_script(revision, Direction.UPGRADE, "{}") | row.values, origin))
            before = after


def note(
    connection: Connection, row: Row, origin: Origin, checksum: str | None = None, source: bytes | None = None
) -> int:
    """Add one row for an event without a script, and return its id. Does not commit.

    Args:
        connection: a session of the database.
        row: the event.
        origin: who caused it, from where.
        checksum: the digest of `source`.
        source: data to keep in place of a script.

    """
    heads = sorted(row.run.after) if row.run else []
    values = {"revision": "+".join(heads) or "base", "down_revisions": _array([]), "tools": "{}"}
    return _insert(connection, values | {"checksum": checksum, "source": source} | row.values, origin)


def _script(revision: Revision, direction: Direction, tools: str) -> dict[str, Any]:
    return {
        "revision": revision.id,
        "direction": direction.value,
        "down_revisions": _array(revision.down_revisions),
        "checksum": revision.identity,
        "source": zlib.compress(revision.source.encode(), 9),
        "tools": tools,
    }


def _insert(connection: Connection, values: dict[str, Any], origin: Origin) -> int:
    [id] = connection.execute(_INSERT, _values(values, origin)).fetchone() or (0,)
    return int(id)


def _values(values: dict[str, Any], origin: Origin) -> list[Any]:
    by = {"stack": origin.stack or None, "commit": origin.commit or None, "person": origin.by or None}
    row = dict.fromkeys(_COLUMNS) | values | by
    return [*row.values()]


def _array(values: Sequence[str]) -> str:
    """Return PostgreSQL's text form of a text array.

    For a list, psycopg takes longer to find its type than to send the row.
    """
    return "{" + ",".join('"' + value.replace("\\", r"\\").replace('"', r"\"") + '"' for value in values) + "}"


def ran(connection: Connection) -> bool:
    """Return whether a revision was ever applied here or begun, even if that was undone since."""
    found = columns(connection)
    if "event" not in found:
        return bool(found)
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} AND event <> ALL (%s))").format(
        TABLE, ours(connection, found)
    )
    nothing = [Event.FAILED, Event.SNAPSHOT, Event.BEGUN, Event.DRIFT_ACCEPTED, Event.BACKUP]
    return connection.execute(query, [[*map(str, nothing)]]).fetchone() == (True,)


_BUILT = f"""
WITH {STANDING}
SELECT EXISTS (
    SELECT FROM standing run WHERE event = 'applied' AND direction = 'upgrade' AND statements > 0 AND NOT EXISTS (
        SELECT FROM standing later WHERE later.event = 'applied' AND later.direction = 'downgrade'
            AND later.revision = run.revision AND later.id > run.id
    )
)
"""  # noqa: S608 - no value is put into it


def has_built(connection: Connection) -> bool:
    """Return whether an applied revision sent statements, so that its schema cannot be empty."""
    found = columns(connection)
    if "statements" not in found:
        return False
    query = sql.SQL(_BUILT).format(table=TABLE, ours=ours(connection, found))
    return connection.execute(query).fetchone() == (True,)


def standing(
    connection: Connection, column_names: Collection[str], selected: str = "*"
) -> tuple[sql.Composable, dict[str, sql.Composable]]:
    """Return the WITH clause of `standing`, the name to select from, and the column of the event.

    A ledger from before there were events contains only rows of applied revisions.

    Args:
        connection: a session of the database.
        column_names: the columns of the ledger.
        selected: the columns that `standing` needs, as SQL.

    """
    if "event" not in column_names:
        return sql.SQL(""), {"rows": TABLE, "event": sql.Literal("applied")}
    clause = sql.SQL("WITH" + STANDING.replace("SELECT *", f"SELECT {selected}")).format(
        table=TABLE, ours=ours(connection, column_names)
    )
    return clause, {"rows": sql.Identifier("standing"), "event": sql.Identifier("event")}


def attempts(connection: Connection) -> list[Attempt]:
    """Return statements that were begun outside a transaction, oldest first.

    Those of revisions applied since are left out.
    """
    found = columns(connection)
    if "event" not in found:
        return []
    query = sql.SQL(_ATTEMPTS).format(table=TABLE, ours=ours(connection, found))
    return [Attempt(*row) for row in connection.execute(query)]
