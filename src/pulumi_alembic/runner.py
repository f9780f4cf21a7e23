"""Enters Alembic: loads the scripts of a plan, and runs it. Importing this module loads Alembic and SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from alembic.util.pyfiles import load_python_file

from pulumi_alembic.environment import Request
from pulumi_alembic.errors import DatabaseError, HistoryError
from pulumi_alembic.history import Revision
from pulumi_alembic.plan import Direction, Plan, revision_text

__all__ = ["import_scripts", "run"]


def import_scripts(revisions: Iterable[Revision]) -> None:
    """Each of these scripts imports, and has both ways. Raises HistoryError, naming the file, for one that does not."""
    for revision in revisions:
        try:
            script = load_python_file(str(revision.path.parent), revision.path.name)
        except (Exception, SystemExit) as error:
            raise HistoryError(f"{revision.path} does not import: {type(error).__name__}: {error}") from None
        for direction in Direction:
            if not callable(getattr(script, direction, None)):
                raise HistoryError(f"{revision.path} has no function {direction}(): each revision needs both ways")


def run(plan: Plan, directory: Path, request: Request) -> None:
    """Run exactly the steps of `plan`, through the project's env.py, as the `alembic` command would.

    Raises DatabaseError where the database is no longer at `plan.current`, before anything runs, and RevisionFailed
    where a step fails: it is rolled back, those before it stay.
    """

    def steps(heads: Sequence[str], context: Any) -> list[RevisionStep]:
        if tuple(sorted(heads)) != plan.current:
            raise DatabaseError(
                f"the plan starts at {revision_text(plan.current)}, and the database now is at {revision_text(heads)}: "
                f"somebody else migrated it. Plan anew: {request.command}"
            )
        make = (
            MigrationStep.upgrade_from_script
            if plan.direction is Direction.UPGRADE
            else MigrationStep.downgrade_from_script
        )
        scripts = context.script
        return [make(scripts.revision_map, scripts.get_revision(step.id)) for step in plan.steps]

    config = Config(attributes={"request": request})
    config.set_main_option("script_location", str(directory.resolve()).replace("%", "%%"))
    try:
        script = ScriptDirectory.from_config(config)
        with EnvironmentContext(config, script, fn=steps):
            script.run_env()
    except CommandError as error:
        raise HistoryError(f"Alembic: {error}") from None
