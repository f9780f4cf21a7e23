"""The record of a database: what became of it, newest first, read from its ledger; a gap in it is a row too."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from pulumi_alembic.database.connection import Connection, read_heads
from pulumi_alembic.ledger.ledger import Event
from pulumi_alembic.ledger.table import SKIPPED, TABLE, columns
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts.plan import revision_text
from pulumi_alembic.scripts.promotion import UNPROVEN

__all__ = ["BY_HAND", "Record", "read", "table"]

BY_HAND = "moved by hand"
"""The result of a row that no ledger holds: the heads are not those that the row before left."""

_WIDTH, _WHEN, _WHAT = 100, 21, 27
"""Columns of the table for people: of a whole line, of the time, and of what was done at most."""

_SHOWN = tuple(event for event in Event if event not in (Event.INTENT, Event.DONE, Event.SNAPSHOT, Event.BEGUN))

_COLUMNS = {
    **{"id": "0", "event": "'applied'", "revision": "''", "direction": "NULL", "down_revisions": "'{}'"},
    **{"applied_at": "NULL", "applied_by": "''", "person": "NULL", "stack": "NULL", "commit": "NULL"},
    **{"seconds": "NULL", "statements": "NULL", "backup": "NULL", "detail": "NULL"},
    **{"heads_before": "NULL", "heads_after": "NULL"},
}
"""What is read of each row, and what stands for it in a ledger made before it had that column."""


@dataclass(frozen=True)
class Record:
    """One row. `origin` and `target` are the database's heads before and after; `when` is None for what has no row.

    It is `chained` where the ledger holds its heads, and they are not concluded from its script.
    """

    when: datetime | None
    origin: tuple[str, ...]
    target: tuple[str, ...]
    what: str
    result: str
    who: str = ""
    person: str = ""
    stack: str = ""
    commit: str = ""
    seconds: float | None = None
    statements: int | None = None
    backup: str = ""
    detail: Mapping[str, Any] | None = None
    chained: bool = True

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values; `when` in ISO 8601."""
        document = asdict(self) | {"when": self.when.isoformat() if self.when else None}
        return {name: value for name, value in document.items() if name != "chained"}


def read(connection: Connection, limit: int | None) -> tuple[list[Record], int]:
    """The newest `limit` records, all where it is None, newest first; and how many rows of the ledger are older.

    Each record begins where the next one in the list ended: where the heads were moved past the ledger, a record says
    so. Rows from before the ledger knew of heads are taken for whole where nothing says otherwise. Changes nothing.
    """
    present = columns(connection)
    heads = read_heads(connection)
    if not present:
        return ([_gap((), heads)] if heads else []), 0
    # In any other style psycopg reads no time.
    connection.execute("SET LOCAL datestyle = ISO")
    rows, older = _rows(connection, present, limit)
    return list(_with_gaps(rows, heads, whole=not older)), older


def table(records: Sequence[Record]) -> list[str]:
    """The records as lines of at most 100 columns, two or more for each; times are those of this machine."""
    width = min(max(len(record.what) for record in records), _WHAT)
    lines = [f"{'when':<{_WHEN}}{'what':<{width}}  {'took':>8}  result"]
    for record in records:
        took = f"{record.seconds:.2f} s" if record.seconds is not None else "-"
        head = f"{_when(record):<{_WHEN}}{record.what:<{width}}  {took:>8}  "
        lines += _wrapped(
            head, " ".join(record.result.split()), len(head) if len(head) < _WIDTH // 2 + _WHEN else _WHEN
        )
        lines += _wrapped(" " * _WHEN, ", ".join(_details(record)), _WHEN)
    return lines


def _wrapped(head: str, text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * indent, break_on_hyphens=False)


def _rows(connection: Connection, present: frozenset[str], limit: int | None) -> tuple[list[Record], int]:
    selected = sql.SQL(", ").join(
        sql.Identifier(name) if name in present else sql.SQL(default) for name, default in _COLUMNS.items()
    )
    shown = (
        sql.SQL("event = ANY ({})").format(sql.Literal([*map(str, _SHOWN)])) if "event" in present else sql.SQL("true")
    )
    parts = {"table": TABLE, "columns": selected, "shown": shown, "limit": sql.Literal(limit)}
    rows = connection.execute(
        sql.SQL("SELECT {columns} FROM {table} WHERE {shown} ORDER BY id DESC LIMIT {limit}").format(**parts)
    ).fetchall()
    older = 0
    if limit is not None and len(rows) == limit:
        counted = sql.SQL("SELECT count(*) FROM {table} WHERE {shown} AND id < {oldest}")
        [(older,)] = connection.execute(counted.format(**parts, oldest=sql.Literal(rows[-1][0]))).fetchall()
    return [_record(dict(zip(_COLUMNS, row, strict=True))) for row in rows], int(older)


def _record(row: dict[str, Any]) -> Record:
    event, detail = row["event"], row["detail"]
    before, after = row["heads_before"], row["heads_after"]
    if before is None:
        applied, downs = (row["revision"],), tuple(row["down_revisions"])
        before, after = (downs, applied) if row["direction"] == "upgrade" else (applied, downs)
        if event == Event.ACCEPTED:
            before = after
    runs = event in (Event.APPLIED, Event.FAILED)
    return Record(
        row["applied_at"],
        tuple(before),
        tuple(after),
        f"{row['direction']} {row['revision']}" if runs else _what(event, row["revision"], detail or {}),
        _result(event, detail or {}),
        row["applied_by"],
        row["person"] or "",
        row["stack"] or "",
        row["commit"] or "",
        row["seconds"],
        row["statements"],
        row["backup"] or "",
        detail,
        row["heads_before"] is not None,
    )


def _what(event: str, revision: str, detail: Mapping[str, Any]) -> str:
    kept = f"{detail.get('table')} of {detail.get('revision')}"
    return {
        Event.ACCEPTED: f"accept {revision}",
        Event.STAMPED: f"stamp {revision}",
        Event.BACKUP: f"backup at {revision}",
        Event.RESTORED: f"restore to {revision}",
        Event.KEPT: f"preserve {kept}",
        Event.PUT_BACK: f"restore {kept}",
        Event.PRUNED: f"prune {kept}",
        Event.DRIFT_ACCEPTED: f"accept drift at {revision}",
        Event.ADOPTED: f"adopt {revision}",
        Event.BACKFILL: f"backfill {detail.get('name') or detail.get('table')}",
    }[Event(event)]


def _result(event: str, detail: Mapping[str, Any]) -> str:
    match event:
        case Event.FAILED:
            return f"failed: {detail.get('error', 'for an unknown reason')}"
        case Event.ACCEPTED | Event.DRIFT_ACCEPTED:
            return f"accepted: {detail.get('reason', 'without a reason')}"
        case Event.STAMPED:
            return "stamped: no script was applied"
        case Event.ADOPTED:
            return "adopted: no script was applied"
        case Event.BACKFILL:
            return _of_backfill(detail)
        case Event.BACKUP | Event.RESTORED:
            return "complete"
        case Event.KEPT | Event.PUT_BACK | Event.PRUNED:
            stays = f", {detail['left']:,} stay" if detail.get("left") else ""
            return f"{event}: {detail.get('what')}{stays} ({detail.get('id')})"
    for key, how in ((UNPROVEN, "unproven"), (SKIPPED, "despite its rehearsal")):
        if key in detail:
            return f"applied {how}: {detail[key]['reason']}"
    return "applied"


def _of_backfill(detail: Mapping[str, Any]) -> str:
    if "state" not in detail:
        return f"asked for: SET {detail.get('set')} WHERE {detail.get('where')}"
    reason = f": {detail['reason']}" if detail.get("reason") else ""
    return f"{detail['state']}, {counted(detail.get('changed', 0), 'row')} set{reason}"


def _with_gaps(rows: Sequence[Record], heads: tuple[str, ...], *, whole: bool) -> Iterator[Record]:
    """The rows, with a record where one does not begin at what the one before it left; `whole` where none is older."""
    later: tuple[str, ...] | None = heads
    for row in rows:
        if row.chained and later is not None and row.target != later:
            yield _gap(row.target, later)
        yield row
        later = row.origin if row.chained else None
    if whole and later:
        yield _gap((), later)


def _gap(origin: tuple[str, ...], target: tuple[str, ...]) -> Record:
    return Record(None, origin, target, "-", BY_HAND)


def _when(record: Record) -> str:
    return f"{record.when.astimezone():%Y-%m-%d %H:%M:%S}" if record.when else "-"


def _details(record: Record) -> Iterator[str]:
    """From which revision to which, who did it and from where."""
    origin, target = revision_text(record.origin), revision_text(record.target)
    yield f"{origin} → {target}" if origin != target else f"at {target}"
    if record.who:
        yield f"by {record.who} ({record.person})" if record.person else f"by {record.who}"
    if record.stack:
        yield f"stack {record.stack}"
    if record.commit:
        yield f"commit {_short(record.commit)}"
    if record.statements is not None:
        yield counted(record.statements, "statement")
    if record.backup:
        yield f"backup {record.backup}"


def _short(commit: str) -> str:
    return commit[:8] + ("+" if commit.endswith("+") else "")
