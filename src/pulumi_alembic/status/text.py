"""The status of all stacks as a table for a terminal, followed by their problems."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pulumi_alembic.status.overview import Status

__all__ = ["ago", "cells", "lines", "summary", "titles", "waits"]

titles = ("stack", "server", "revision", "pending", "held", "last update", "drift", "backup")


def lines(statuses: Sequence[Status], now: datetime | None = None) -> list[str]:
    """Return the table, what waits in each stack, each problem with its command, and the summary."""
    several = {status.stack for status in statuses if sum(other.stack == status.stack for other in statuses) > 1}
    rows = [list(titles), *(list(cells(status, now)) for status in statuses)]
    for row, status in zip(rows[1:], statuses, strict=True):
        row[0] += f" {status.name}" if status.stack in several else ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    problems: list[str] = []
    for status in statuses:
        for problem in status.problems:
            problems += ["", f"{status.stack}: {problem.text}", f"  {problem.command}"]
    waiting = [f"{status.stack}: {text}" for status in statuses for text in waits(status)]
    return [*table, *([""] if waiting else ()), *waiting, *problems, "", summary(statuses)]


def waits(status: Status) -> list[str]:
    """What goes on or waits without a problem: contracts that are not due, and backfills that are not complete."""
    contracts = [f"the contract {revision} waits {until}" for revision, until in status.waits.items()]
    backfills = status.read.backfills if status.read else ()
    return contracts + [f"{backfill}: {backfill.state.value}, {backfill.changed:,} rows set" for backfill in backfills]


def summary(statuses: Sequence[Status]) -> str:
    """Return one line with the numbers of stacks, of stacks with problems, and of stacks with pending revisions."""
    stacks = {status.stack for status in statuses}
    troubled = {status.stack for status in statuses if status.problems}
    pending = {status.stack for status in statuses if status.pending}
    parts = [_count(len(stacks), "stack"), f"{len(troubled)} with problems", f"{len(pending)} with pending revisions"]
    return ", ".join(parts)


def cells(status: Status, now: datetime | None = None) -> tuple[str, ...]:
    """Return the cells of one row, in the order of `titles`. A dash does not apply, a question mark is unknown."""
    if not status.name:
        return (status.stack, "-", "-", "-", "-", _updated(status, now), "-", "-")
    server = f"{status.server} ({status.read.server})" if status.read else status.server or "?"
    revision = status.revision if status.is_read or not status.revision else f"{status.revision} (state)"
    pending = "?" if status.pending is None else f"{status.pending} down" if status.downgrade else str(status.pending)
    return (
        status.stack,
        server,
        revision or "?",
        pending,
        "?" if status.held is None else str(status.held),
        _updated(status, now),
        "?" if status.drift is None else str(status.drift) if status.drift else "none",
        ago(status.backup, now) if status.backup else "never" if status.is_read else "?",
    )


def _updated(status: Status, now: datetime | None) -> str:
    update = status.update
    if update is None:
        return "never"
    by = f" by {update.person}" if update.person else ""
    commit = f" at {update.commit[:7]}" if update.commit else ""
    kind = "" if update.kind == "update" else f"{update.kind} "
    failed = "" if update.result == "succeeded" else f"{update.result} "
    return f"{failed}{kind}{ago(update.when, now)}{by}{commit}"


def ago(when: datetime, now: datetime | None = None) -> str:
    """Return how long ago a time was, in one unit: `3 hours ago`."""
    passed = (now or datetime.now(UTC)) - when
    for unit, length in (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1))):
        if passed >= length:
            return f"{_count(passed // length, unit)} ago"
    return "just now"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
