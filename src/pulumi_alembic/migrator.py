"""Read the database, plan, run, read again: all that the provider does, without Pulumi."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pulumi_alembic import integrity
from pulumi_alembic.database import await_server, connect, read_heads
from pulumi_alembic.endpoint import refuse_read_only
from pulumi_alembic.errors import DatabaseError, Moved
from pulumi_alembic.exclusive import hold
from pulumi_alembic.history import History
from pulumi_alembic.plan import Plan, plan, revision_text
from pulumi_alembic.policy import Policy
from pulumi_alembic.request import Request

__all__ = ["look", "migrate", "plan_from_base", "plan_from_database", "read_revision"]

# Alembic keeps its context in module globals: two runs in threads would run one's statements in the other's database.
_one_run = threading.Lock()


def read_revision(url: str) -> str:
    """The revision that the database says it is at: an id, `base`, or ids joined by `+`. Raises DatabaseError."""
    with connect(url) as connection:
        return revision_text(read_heads(connection))


def plan_from_database(url: str, directory: Path, target: str) -> Plan:
    """The plan from where the database is now, of scripts that can run. Nothing is changed.

    Raises as `look` does, and HistoryError where a script that would run does not import, or as `refuse_unfit` does.
    Scripts that would not run are not loaded, nor is Alembic where nothing would run.
    """
    return _runnable(look(url, directory, target), url)


def look(url: str, directory: Path, target: str) -> Plan:
    """The plan from where the database is now, read over one connection; no script is loaded. Nothing is changed.

    Raises DatabaseError where it cannot be asked, TargetError where there is no way, HistoryError where an applied
    script is not the one that ran, or the manifest does not fit.
    """
    return _look(url, directory, target)[1]


def _look(url: str, directory: Path, target: str) -> tuple[History, Plan]:
    history = History.load(directory)
    with connect(url) as connection:
        refuse_read_only(connection)
        heads = read_heads(connection)
        integrity.check(connection, history, heads)
    history.require_manifest()
    return history, plan(history, heads, history.resolve(target))


def plan_from_base(directory: Path, target: str) -> Plan:
    """The plan for a database that does not exist yet. Raises as `plan_from_database` does."""
    history = History.load(directory)
    history.require_manifest()
    return _runnable(plan(history, (), history.resolve(target)), None)


def migrate(
    url: str,
    directory: Path,
    target: str,
    *,
    command: str,
    on_applied: Callable[[str], None] = lambda revision: None,
    on_status: Callable[[str], None] = lambda text: None,
    on_wait: Callable[[str], None] = lambda text: None,
    policy: Policy | None = None,
) -> str:
    """Bring the database to `target`, and return the revision that it then says it is at, read on a new connection.

    One migration at a time: whoever waited for another starts from where that left the database, which may be the
    target. Safe to repeat: it starts from what the database says, not from what an earlier run believed. Raises
    RevisionFailed as `runner.run` does; `command` is what its message tells the person to repeat. `on_status` is
    told what goes on, and `on_wait` for which other migration it waits.
    """
    policy = policy or Policy()
    with hold(url, policy, command, on_wait) as lock:
        request = Request(url, command, on_applied, on_status, policy, lock)
        while not _reach(directory, target, request):
            lock.ensure()
        revision = _read_at_last(url, policy)
    if revision != target:
        raise DatabaseError(
            f"every revision ran, yet the database is at {revision} and not at {target}. Look again: {command}"
        )
    return revision


def _reach(directory: Path, target: str, request: Request) -> bool:
    """Run what is pending; False where another migration came between, and the plan is to be made anew."""
    history, steps = _look(request.url, directory, target)
    if steps.steps:
        from pulumi_alembic import runner

        try:
            with _one_run:
                runner.run(steps, history, replace(request, scripts=history.revisions))
        except Moved as moved:
            request.on_status(f"{moved}: plans anew")
            return False
    return True


def _read_at_last(url: str, policy: Policy) -> str:
    """What the database says in the end; a connection that is lost here is no failure of what ran."""
    try:
        return read_revision(url)
    except DatabaseError:
        await_server(url, policy.lock_deadline)
        return read_revision(url)


def _runnable(steps: Plan, url: str | None) -> Plan:
    if steps.steps:
        from pulumi_alembic.runner import import_scripts

        import_scripts(steps.steps)
        _refuse_unfit(steps, url)
    return steps


def _refuse_unfit(steps: Plan, url: str | None) -> None:
    from pulumi_alembic.fitness import refuse_unfit
    from pulumi_alembic.shape import Function

    refuse_unfit([Function(step.path, step.source, steps.direction) for step in steps.steps], url)
