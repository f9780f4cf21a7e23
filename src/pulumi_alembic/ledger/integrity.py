"""Check that every applied script is still the one that ran, by comparing it with the ledger."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from psycopg import sql

from pulumi_alembic.database.connection import Connection, connect, read_heads
from pulumi_alembic.errors import HistoryError, TargetError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.table import TABLE
from pulumi_alembic.output.redact import redact_source
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.manifest import COMMAND
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import Revision, normalised

__all__ = ["Run", "accept", "check", "check_runs", "read_runs", "require"]

DIFF_LINES = 30

_LAST_RUNS = """
SELECT DISTINCT ON (revision) revision, id, direction, checksum, down_revisions FROM {rows}
WHERE {event} IN ('applied', 'accepted', 'adopted') ORDER BY revision, id DESC
"""


class Run(NamedTuple):
    """The last run of a revision, or its last acceptance or adoption.

    Attributes:
        row: the id of its row.

    """

    row: int
    direction: str
    checksum: str
    down_revisions: list[str]


def check(connection: Connection, history: History, heads: Sequence[str]) -> None:
    """Raise HistoryError, with the lines that differ, if a script of an applied revision differs from the one that ran.

    Stamped revisions have no row and are not compared. Nothing is changed.

    Args:
        connection: a session of the database.
        history: the scripts.
        heads: the database's heads.

    """
    _check(history, heads, read_runs(connection), lambda revision, row: _lines_that_differ(connection, revision, row))


def check_runs(history: History, heads: Sequence[str], runs: Mapping[str, Run]) -> None:
    """Check as `check` does, with `runs` that were read before, and without showing the lines that differ."""
    _check(history, heads, runs, lambda *_: iter(["(the file of the schema holds no scripts)"]))


def require(url: str, directory: Path) -> History:
    """Load the scripts in `directory`, and check them against the database and the manifest.

    Raises as these checks do.
    """
    history = History.load(directory)
    with connect(url) as connection:
        heads = read_heads(connection)
        check(connection, history, heads)
    history.require_manifest()
    for head in heads:
        history.require_script(head, f"the database is at revision {head}")
    return history


def accept(connection: Connection, history: History, heads: Sequence[str], id: str, reason: str) -> bool:
    """Accept the current script of `id` in place of the one that ran. Return False if it is the same.

    A row is added to the ledger, without a commit.

    Args:
        connection: a session of the database.
        history: the scripts.
        heads: the database's heads.
        id: the revision.
        reason: why the changed script is right.

    Raises:
        TargetError: `id` is not applied, or was only stamped.

    """
    applied = _applied(read_runs(connection), history, heads)
    if id not in history.revisions or id not in applied:
        raise TargetError(f"revision {id} is not applied here: applied are {', '.join(sorted(applied)) or 'none'}")
    run = applied[id]
    if run is None:
        raise TargetError(f"revision {id} was stamped: the ledger contains no script of it to compare with")
    revision = history.revisions[id]
    if revision.identity == run.checksum:
        return False
    import getpass
    import platform

    from pulumi_alembic.scripts.origin import Origin

    tools = f'{{"python": "{platform.python_version()}"}}'
    detail = {"reason": reason, "by": getpass.getuser()}
    ledger.prepare(connection)
    ledger.record(
        connection,
        revision,
        Direction.UPGRADE,
        tools,
        ledger.Row(ledger.Event.ACCEPTED, ledger.Run(heads, heads), detail),
        Origin.of(history.manifest.path.parent),
    )
    return True


def _check(
    history: History,
    heads: Sequence[str],
    runs: Mapping[str, Run],
    differing: Callable[[Revision, int], Iterator[str]],
) -> None:
    changed = [
        (history.revisions[id], run.row)
        for id, run in _applied(runs, history, heads).items()
        if run is not None and id in history.revisions and history.revisions[id].identity != run.checksum
    ]
    if changed:
        raise HistoryError("\n".join(_report(history, sorted(changed, key=lambda change: change[0].id), differing)))


def _applied(runs: Mapping[str, Run], history: History, heads: Sequence[str]) -> dict[str, Run | None]:
    """Return the last runs of the database's heads and all that they build on. None for a revision without a row."""
    applied: dict[str, Run | None] = {}
    pending = list(heads)
    while pending:
        id = pending.pop()
        if id in applied:
            continue
        run, script = runs.get(id), history.revisions.get(id)
        # If the last run of an applied revision is a downgrade, it was stamped since.
        applied[id] = run if run and run.direction == Direction.UPGRADE else None
        # Prefer the down revisions that were recorded, because the script can have changed since.
        pending += run.down_revisions if run else script.down_revisions if script else ()
    return applied


def read_runs(connection: Connection) -> dict[str, Run]:
    """Return the last run of each revision in the ledger."""
    columns = ledger.columns(connection)
    if not columns:
        return {}
    # Only these columns, because a login for reports is not allowed to read the scripts.
    standing, names = ledger.standing(connection, columns, "id, revision, direction, checksum, down_revisions, event")
    runs = sql.SQL(_LAST_RUNS).format(**names)
    return {id: Run(*run) for id, *run in connection.execute(standing + runs)}


def _report(
    history: History, changed: list[tuple[Revision, int]], differing: Callable[[Revision, int], Iterator[str]]
) -> Iterator[str]:
    directory = history.manifest.path.parent.name
    for revision, row in changed:
        yield f"{directory}/versions/{revision.path.name} is applied, and was edited since:"
        yield from (f"  {line}" for line in differing(revision, row))
    yield 'Revert the edit, and change the schema with a new revision: alembic revision -m "…"'
    first = f"{COMMAND}; then: " if history.differences else ""
    yield f"If the edit is meant, and the applied schema is right: {first}" + "; ".join(
        f'pulumi-alembic accept {revision.id} --reason "…"' for revision, _ in changed
    )


def _lines_that_differ(connection: Connection, revision: Revision, row: int) -> Iterator[str]:
    import difflib

    readable = "SELECT has_column_privilege(%s, 'source', 'SELECT')"
    if connection.execute(readable, [TABLE.as_string(connection)]).fetchone() == (False,):
        yield "(this login cannot read the applied script)"
        return
    statement = sql.SQL("SELECT source FROM {} WHERE id = %s").format(TABLE)
    [source] = connection.execute(statement, [row]).fetchone() or (zlib.compress(b""),)
    ran = normalised(zlib.decompress(source).decode()).splitlines()
    now = normalised(revision.source).splitlines()
    lines = list(difflib.unified_diff(ran, now, "as applied", "as it is now", n=1, lineterm=""))
    yield from (redact_source(line) for line in lines[:DIFF_LINES])
    if len(lines) > DIFF_LINES:
        yield f"… and {len(lines) - DIFF_LINES} lines more"
