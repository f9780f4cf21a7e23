"""The commands `backfill run`, `status`, `pause`, `resume` and `cancel` of `pulumi-alembic`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulumi_alembic.commands.command import AS_JSON, Options, argument, command, flag, option, tell
from pulumi_alembic.commands.formats import print_document
from pulumi_alembic.commands.project import database_and_policy, database_url
from pulumi_alembic.errors import BackfillError
from pulumi_alembic.output.wording import table
from pulumi_alembic.policy import parse_rate

if TYPE_CHECKING:
    from pulumi_alembic.migrate.backfills.store import Backfill, State

__all__ = ["GROUP"]

_NONE = "no backfills"


def _run(options: Options, directory: Path) -> int:
    from pulumi_alembic.migrate.backfills.work import Worker, work
    from pulumi_alembic.scripts.origin import Origin

    url, policy = database_and_policy(directory)
    if options.max_wal_rate is not None:
        policy = replace(policy, max_wal_rate=parse_rate("--max-wal-rate", options.max_wal_rate))
    if not options.ids and not _read(url):
        print(_NONE)
        return 0
    worker = Worker(
        *(url, policy, tell, print, Origin.of(directory)),
        sessions=options.workers,
        rests=not options.full_speed,
    )
    unfinished = work(worker, options.ids)
    for backfill in unfinished:
        print(f"{backfill}: {backfill.state}, {backfill.changed:,} rows set")
    if not unfinished:
        print("every backfill is verified")
    return int(bool(unfinished))


def _read(url: str) -> list[Backfill]:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.migrate.backfills import store

    with connect(url) as connection:
        return store.read(connection)


def _status(options: Options, directory: Path) -> None:
    backfills = _read(database_url(directory))
    if options.json:
        print_document(backfills=[backfill.to_json() for backfill in backfills])
    elif backfills:
        print("\n".join(table(_rows(backfills))))
    else:
        print(_NONE)


def _rows(backfills: Sequence[Backfill]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("id", "revision", "table", "state", "rows walked", "rows set", "last batch")]
    for backfill in backfills:
        moved = f"{(datetime.now(UTC) - backfill.moved_at).total_seconds():,.0f} s ago" if backfill.moved_at else "-"
        rows.append(
            (
                str(backfill.id),
                backfill.revision,
                backfill.table,
                backfill.state,
                f"{backfill.walked:,}",
                f"{backfill.changed:,}",
                moved,
            )
        )
    return rows


def _pause(options: Options, directory: Path) -> None:
    from pulumi_alembic.migrate.backfills.store import State

    _decide(options, directory, State.PAUSED, State.PENDING)


def _resume(options: Options, directory: Path) -> None:
    from pulumi_alembic.migrate.backfills.store import State

    _decide(options, directory, State.PENDING, State.PAUSED)
    print("work at it: pulumi-alembic backfill run")


def _cancel(options: Options, directory: Path) -> None:
    from pulumi_alembic.migrate.backfills.store import State

    _decide(options, directory, State.CANCELLED, State.PENDING, State.PAUSED)


def _decide(options: Options, directory: Path, state: State, *before: State) -> None:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.ledger import ledger
    from pulumi_alembic.migrate.backfills import store
    from pulumi_alembic.scripts.origin import Origin

    with connect(database_url(directory)) as connection:
        [backfill] = store.choose(store.read(connection), [options.id])
        if backfill.state not in before:
            raise BackfillError(f"{backfill} is {backfill.state}: nothing was changed")
        ledger.prepare(connection)
        store.decide(connection, backfill, state, Origin.of(directory), getattr(options, "reason", "") or "")
        connection.commit()
    print(f"{backfill}: {state}")


_ID = argument("id", metavar="ID", type=int)

GROUP = click.Group(
    "backfill",
    help="Work at the backfills that revisions asked for, outside of any deployment.",
    commands=[
        command(
            _run,
            "Work at the pending backfills until a scan finds no row that is left. Safe to end, to kill and to repeat. "
            "The exit code is 1 if one is left.",
            argument("ids", metavar="[ID]...", nargs=-1, type=int),
            option(
                "--workers",
                "Sessions that work at a large table at a time.",
                type=click.IntRange(1, 8),
                default=1,
                show_default=True,
            ),
            option(
                "--max-wal-rate",
                "Pause while the server writes more WAL per second, such as 20MB/s. Default: the stack's setting.",
            ),
            flag("--full-speed", "Do not rest after each batch. Readers and writers wait longer."),
        ),
        command(_status, "List the backfills and how far they are.", AS_JSON),
        command(_pause, "Pause a backfill: whoever works at it ends within some seconds.", _ID),
        command(_resume, "Let a paused backfill go on.", _ID),
        command(
            _cancel,
            "Cancel a backfill for good: the rows that are set stay set.",
            _ID,
            option("--reason", "Why; recorded in the ledger.", required=True),
        ),
    ],
)
