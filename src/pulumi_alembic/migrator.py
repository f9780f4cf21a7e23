"""Read the database, plan, run, read again: all that the provider does, without Pulumi."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from pulumi_alembic.database import connect, read_heads
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.history import History
from pulumi_alembic.plan import Plan, plan, revision_text

__all__ = ["migrate", "plan_from_base", "plan_from_database", "read_revision"]

# Alembic keeps its context in module globals: two runs in threads would run one's statements in the other's database.
_one_run = threading.Lock()


def read_revision(url: str) -> str:
    """The revision that the database says it is at: an id, `base`, or ids joined by `+`. Raises DatabaseError."""
    with connect(url) as connection:
        return revision_text(read_heads(connection))


def plan_from_database(url: str, directory: Path, target: str) -> Plan:
    """The plan from where the database is now. Nothing is changed.

    Raises DatabaseError where it cannot be asked, TargetError where there is no way, HistoryError where a script that
    would run does not import. Scripts that would not run are not loaded, nor is Alembic where nothing would run.
    """
    with connect(url) as connection:
        heads = read_heads(connection)
    return _importable(plan(History.load(directory), heads, target))


def plan_from_base(directory: Path, target: str) -> Plan:
    """The plan for a database that does not exist yet. Raises as `plan_from_database` does."""
    return _importable(plan(History.load(directory), (), target))


def migrate(url: str, directory: Path, target: str, *, command: str, on_applied: Callable[[str], None]) -> str:
    """Bring the database to `target`, and return the revision that it then says it is at, read on a new connection.

    Safe to repeat: it starts from what the database says, not from what an earlier run believed. Raises RevisionFailed
    as `runner.run` does; `command` is what its message tells the person to repeat.
    """
    steps = plan_from_database(url, directory, target)
    if steps.steps:
        from pulumi_alembic import runner
        from pulumi_alembic.environment import Request

        with _one_run:
            runner.run(steps, directory, Request(url, command, on_applied))
    revision = read_revision(url)
    if revision != target:
        raise DatabaseError(
            f"every revision ran, yet the database is at {revision} and not at {target}. Look again: {command}"
        )
    return revision


def _importable(steps: Plan) -> Plan:
    if steps.steps:
        from pulumi_alembic.runner import import_scripts

        import_scripts(steps.steps)
    return steps
