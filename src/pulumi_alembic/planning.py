"""Where a database is, and the plan from there: read only, and without what only a run needs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pulumi_alembic import integrity
from pulumi_alembic.database import connect, read_heads
from pulumi_alembic.endpoint import refuse_read_only
from pulumi_alembic.history import History
from pulumi_alembic.plan import Plan, plan, revision_text

__all__ = ["look", "look_closely", "plan_from_base", "plan_from_database", "read_revision"]


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
    return look_closely(url, directory, target)[1]


def look_closely(url: str, directory: Path, target: str) -> tuple[History, Plan]:
    """As `look`, with the history that the plan is of."""
    # The scripts are read while the server answers.
    with ThreadPoolExecutor(1) as aside:
        reading = aside.submit(History.load, directory)
        with connect(url) as connection:
            refuse_read_only(connection)
            heads = read_heads(connection)
            history = reading.result()
            integrity.check(connection, history, heads)
    history.require_manifest()
    return history, plan(history, heads, history.resolve(target))


def plan_from_base(directory: Path, target: str) -> Plan:
    """The plan for a database that does not exist yet. Raises as `plan_from_database` does."""
    history = History.load(directory)
    history.require_manifest()
    return _runnable(plan(history, (), history.resolve(target)), None)


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
