"""The record of a database: what was done to it, newest first, from its ledger.

Changes outside the ledger appear as gaps.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from pulumi_alembic.database.connection import Connection, read_heads
from pulumi_alembic.ledger.ledger import Event
from pulumi_alembic.ledger.table import SKIPPED, TABLE, columns, ours
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts.plan import revision_text
from pulumi_alembic.scripts.promotion import UNPROVEN

__all__ = ["BY_HAND", "Record", "read", "table"]

BY_HAND = "moved by hand"
"""The result of a gap: the heads differ from those that the previous row left."""

_WIDTH, _WHEN, _WHAT = 100, 21, 27
"""Widths in characters: of a line, of the time, and the most for what was done."""

_SHOWN = tuple(event for event in Event if event not in (Event.INTENT, Event.DONE, Event.SNAPSHOT, Event.BEGUN))

_COLUMNS = {
    **{"id": "0", "event": "'applied'", "revision": "''", "direction": "NULL", "down_revisions": "'{}'"},
    **{"applied_at": "NULL", "applied_by": "''", "person": "NULL", "stack": "NULL", "commit": "NULL"},
    **{"seconds": "NULL", "statements": "NULL", "backup": "NULL", "detail": "NULL"},
    **{"heads_before": "NULL", "heads_after": "NULL"},
}
"""The columns to read, and the SQL that replaces each in a ledger from before it existed."""


@dataclass(frozen=True)
class Record:
    """One row of the record.

    Attributes:
        when: None for a gap.
        origin: the heads before.
        target: the heads after.
        who: the login of the database.
        person: the user of the machine, or the actor of a CI job.
        chained: the ledger contains its heads. Otherwise they are derived from the script.

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
        """Return the row as JSON values, with `when` in ISO 8601."""
        document = asdict(self) | {"when": self.when.isoformat() if self.when else None}
        return {name: value for name, value in document.items() if name != "chained"}


def read(connection: Connection, limit: int | None) -> tuple[list[Record], int]:
    """Return the newest records, newest first, and how many rows of the ledger are older. Nothing is changed.

    Each record begins at the heads where the previous one ended. If the heads were changed outside the ledger, a gap is
    added. Rows from before the ledger contained heads are taken as complete, unless something contradicts that.

    Args:
        connection: a session of the database.
        limit: the number of records, None for all.

    """
    present = columns(connection)
    heads = read_heads(connection)
    if not present:
        return ([_gap((), heads)] if heads else []), 0
    # psycopg can parse times only in this style.
    connection.execute("SET LOCAL datestyle = ISO")
    rows, older = _rows(connection, present, limit)
    return list(_with_gaps(rows, heads, whole=not older)), older


def table(records: Sequence[Record]) -> list[str]:
    """Return the records as lines of at most 100 columns, two or more each, with times in the local time zone."""
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
    shown = ours(connection, present)
    if "event" in present:
        shown += sql.SQL(" AND event = ANY ({})").format(sql.Literal([*map(str, _SHOWN)]))
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
    """Yield the rows, and a gap if one does not begin where the previous one ended.

    `whole` if there are no older rows.
    """
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
    """Yield the revisions before and after, who did it and from where."""
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
