"""Load the scripts of a plan and run them through Alembic. Importing this module loads Alembic and SQLAlchemy."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationStep, RevisionStep
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import Revision as AlembicRevision
from alembic.script.revision import RevisionMap
from alembic.util import CommandError
from sqlalchemy import MetaData

from pulumi_alembic.errors import HistoryError, MigrationError, Moved
from pulumi_alembic.migrate.job import ENTERED, Request
from pulumi_alembic.migrate.script_module import load
from pulumi_alembic.output.redact import redact
from pulumi_alembic.output.wording import nearby
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.manifest import COMMAND
from pulumi_alembic.scripts.plan import Direction, Plan, revision_text
from pulumi_alembic.scripts.revision import Revision, builds_on

__all__ = ["ask_database", "enter", "import_scripts", "run"]

# Alembic keeps its context in module globals: of two runs in threads, one would send its statements to the other's
# database.
_ONE_AT_A_TIME = threading.Lock()


def import_scripts(revisions: Iterable[Revision]) -> dict[str, ModuleType]:
    """Import these scripts, and return their modules by revision id.

    Raises:
        HistoryError: a script cannot be imported, was edited during the run, lacks upgrade() or downgrade(), or has
            another down_revision than the manifest lists. The message names the file.

    """
    scripts = {}
    for revision in revisions:
        try:
            script = load(revision)
        except (Exception, SystemExit) as error:
            raise HistoryError(_not_importable(revision, redact(f"{type(error).__name__}: {error}"))) from None
        if not revision.is_stored and _read_again(revision).checksum != revision.checksum:
            raise HistoryError(f"{revision.path} was edited during the run. Run the command again")
        for direction in Direction:
            if not callable(getattr(script, direction, None)):
                raise HistoryError(
                    f"{revision.path} has no function {direction}(): each revision needs an upgrade and a downgrade"
                )
        if builds_on(vars(script)) != (revision.down, revision.depends_on):
            raise HistoryError(
                f"{revision.path} has another down_revision than the manifest lists. Update the manifest: {COMMAND}"
            )
        scripts[revision.id] = script
    return scripts


def _read_again(revision: Revision) -> Revision:
    """Read the script from disk again. It is parsed only if it has changed."""
    return Revision.read(revision.folder, revision.file, revision.entry)


def _not_importable(revision: Revision, reason: str) -> str:
    if not revision.is_stored:
        return f"{revision.path} cannot be imported: {reason}"
    return (
        f"the script of {revision.id}, which the ledger keeps, cannot be imported here: {reason}. It uses code of its "
        f"own commit. Check that commit out: git log --all --oneline -- '*{revision.id}*'"
    )


def ask_database(directory: Path) -> tuple[str, Callable[[], Policy]] | None:
    """Return the URL and the function for the policy that the project's env.py gives the `alembic` command.

    None if it gives none.

    Raises:
        MigrationError: env.py does not run as far as that.

    """
    given: list[tuple[str, Callable[[], Policy]]] = []
    try:
        _run_env(directory, {"on_database": given.append})
    except MigrationError:
        raise
    except Exception as error:
        raise HistoryError(_not_runnable(directory / "env.py", error, "does not give the database's URL")) from None
    return given[0] if given else None


def enter(history: History, within: Callable[[MetaData], None]) -> None:
    """Call `within` with the metadata at the point where env.py would run revisions. No database is connected to."""
    _run_env(history.manifest.path.parent, {"within": within})


def run(plan: Plan, history: History, request: Request) -> None:
    """Run exactly the steps of `plan` through the project's env.py, as the `alembic` command would.

    Only the scripts of the plan are imported. Alembic gets the other revisions from the history.

    Raises:
        HistoryError: as `import_scripts` raises it, before anything runs.
        Moved: the database is no longer at `plan.current`. Nothing has run.
        RevisionFailed: a step failed. It is rolled back, and the steps before it stay applied.

    """
    scripts = import_scripts(plan.steps)

    def steps(heads: Sequence[str], context: Any) -> list[RevisionStep]:
        if tuple(sorted(heads)) != plan.current:
            raise Moved(
                f"the plan starts at {revision_text(plan.current)}, and the database now is at {revision_text(heads)}"
            )
        make = (
            MigrationStep.upgrade_from_script
            if plan.direction is Direction.UPGRADE
            else MigrationStep.downgrade_from_script
        )
        revision_map = context.script.revision_map
        return [make(revision_map, revision_map.get_revision(step.id)) for step in plan.steps]

    def revisions() -> Iterator[AlembicRevision]:
        for revision in history.revisions.values():
            if module := scripts.get(revision.id):
                yield Script(module, revision.id, module.__file__ or "")
            else:
                yield AlembicRevision(revision.id, revision.down or None, revision.depends_on or None)

    _run_env(history.manifest.path.parent, {"request": request}, steps, RevisionMap(revisions))


def _not_runnable(env: Path, error: Exception, problem: str = "does not run") -> str:
    """Describe why env.py fails before it calls `environment.run`."""
    frames = traceback.extract_tb(error.__traceback__)
    shown = nearby(env.absolute())
    place = frames[-1]
    file, line = place.filename, place.lineno
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    [reason, *_] = redact(f"{type(error).__name__}: {text}").splitlines()
    return f"{shown} {problem}. {nearby(file)}, line {line}: {reason}"


def _run_env(
    directory: Path,
    attributes: dict[str, Any],
    steps: Callable[..., list[RevisionStep]] | None = None,
    revisions: RevisionMap | None = None,
) -> None:
    env = directory / "env.py"
    if not env.exists():
        # Without this check Alembic would run the bytecode that Python compiled from it earlier.
        shown = nearby(env.absolute())
        raise HistoryError(f"there is no {shown}. Restore it:\n  git checkout -- {shown}")
    config = Config()
    # Not a copy: `environment.run`, which env.py calls, sets ENTERED in it.
    config.attributes = attributes
    config.set_main_option("script_location", str(directory.resolve()).replace("%", "%%"))
    try:
        script = ScriptDirectory.from_config(config)
        if revisions is not None:
            script.revision_map = revisions
        with _ONE_AT_A_TIME, EnvironmentContext(config, script, fn=steps):
            script.run_env()
    except CommandError as error:
        raise HistoryError(f"Alembic: {error}") from None
    except Exception as error:
        if ENTERED in attributes or isinstance(error, MigrationError):
            raise
        raise HistoryError(_not_runnable(env, error)) from None
    except SystemExit as error:
        raise HistoryError(f"{env} ends the process, with {error.code!r}: remove that") from None
