"""The entry point of `migrations/env.py`: the same code runs for the `alembic` command and for a stack's update."""

from __future__ import annotations

import logging
import re
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command, context
from alembic.script.revision import RevisionError
from alembic.util import CommandError

from pulumi_alembic.database.connection import VERSION_SCHEMA, connect, read_heads
from pulumi_alembic.database.migration_lock import hold
from pulumi_alembic.database.sessions import waits
from pulumi_alembic.errors import MigrationError, Moved, TargetError
from pulumi_alembic.ledger import integrity
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.authoring import list_in_manifest, refuse_unnamed_merge, require_one_head, script_folder
from pulumi_alembic.migrate.data_loss.settings import allowed
from pulumi_alembic.migrate.job import ENTERED, Job, Listener, Request
from pulumi_alembic.migrate.online import run_online
from pulumi_alembic.output.printable import printable, was_interrupted
from pulumi_alembic.output.redact import redact
from pulumi_alembic.output.tracing import span
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts import phases
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.phases import Contracts
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.revision import CONTRACT

if TYPE_CHECKING:
    from pulumi_alembic.scripts.revision import Revision
    from pulumi_alembic.sql.lock_plan import LockPlan

__all__ = ["run"]

_LOOKING = {command.branches, command.check, command.current, command.heads, command.history, command.show}
_LOOKING |= {command.revision, command.merge, command.edit}
"""Commands that change scripts at most. They do not wait for another migration."""


def run(target_metadata: sa.MetaData | None, url: Callable[[], str], policy: Callable[[], Policy] = Policy) -> None:
    """Run the command or the update that loaded `env.py`, with one transaction and one ledger row per revision.

    Offline (`--sql`) prints the statements of the revisions, without those that write the ledger.

    Args:
        target_metadata: The program's tables, for autogenerate. None if it has none.
        url: Returns the migrator's URL. Only called if Alembic was started as a command, or to learn the URL.
        policy: Returns how long to wait. Only called by `alembic` and by `pulumi-alembic` without DATABASE_URL.

    Raises:
        RevisionFailed: A revision failed and was rolled back. The revisions before it stay applied.
        CommandError: The same and every other MigrationError, if Alembic was started as a command.

    """
    context.config.attributes[ENTERED] = True
    if on_database := context.config.attributes.get("on_database"):
        on_database((url(), policy))
        return
    if within := context.config.attributes.get("within"):
        within(sa.MetaData() if target_metadata is None else target_metadata)
        return
    if request := context.config.attributes.get("request"):
        _run_online(target_metadata, request)
        return
    try:
        if context.config.cmd_opts and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
            # The package restored the default handler for the time of env.py's imports.
            signal.signal(signal.SIGINT, signal.default_int_handler)
        _load_scripts()
        refuse_unnamed_merge()
        require_one_head()
        list_in_manifest()
        if context.is_offline_mode():
            _run_offline(target_metadata)
        else:
            _log_to_terminal()
            _run_command(target_metadata, url(), policy())
    except MigrationError as error:
        raise CommandError(str(error)) from None
    except KeyboardInterrupt:
        raise CommandError("interrupted; what was not committed is rolled back") from None


def _load_scripts() -> None:
    """Let Alembic load all scripts now, to name the script that cannot be imported. Raises CommandError."""
    folder = str(Path(context.script.dir).resolve())
    try:
        _ = context.script.revision_map.heads
    except CommandError:
        raise
    except RevisionError as error:
        raise CommandError(f"the scripts do not form one history: {error}") from None
    except (Exception, SystemExit) as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from None
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        files += [error.filename or ""] if isinstance(error, SyntaxError) else []
        script = next((file for file in reversed(files) if file.startswith(folder)), folder)
        reason = redact(f"{type(error).__name__}: {error}")
        raise CommandError(printable(f"{'/'.join(Path(script).parts[-3:])} cannot be imported: {reason}")) from None


def _run_offline(metadata: sa.MetaData | None) -> None:
    context.configure(
        dialect_name="postgresql",
        # With any other paramstyle a `%` is printed twice.
        dialect_opts={"paramstyle": "named"},
        target_metadata=metadata,
        version_table_schema=VERSION_SCHEMA,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def _run_command(metadata: sa.MetaData | None, url: str, policy: Policy) -> None:
    typed = " ".join(["alembic", *sys.argv[1:]])
    command_function = getattr(context.config.cmd_opts, "cmd", (None,))[0]
    with ExitStack() as stack:
        stack.enter_context(span(f"alembic {getattr(command_function, '__name__', '')}".strip()))
        stack.enter_context(waits(_say, policy.lock_deadline))
        lock = None
        if command_function not in _LOOKING:
            # Before Alembic reads the heads: after a wait it then reads what the other migration left.
            lock = stack.enter_context(hold(url, policy, typed, _say))
        directory = script_folder()
        moves = command_function in (command.upgrade, command.downgrade)
        history = integrity.require(url, directory) if moves else None
        if history is not None:
            target = str(getattr(context.config.cmd_opts, "revision", ""))
            history.require_script(target, f"there is no script of revision {target}")
        job = Job(
            url,
            directory,
            command=typed,
            policy=policy,
            origin=Origin.of(directory) if lock else Origin(),
            allow_data_loss=allowed(()),
            history=history,
        )
        if command_function is command.check and _check_after_contracts(metadata, job):
            return
        restrict = partial(_hold_contracts, job) if command_function is command.upgrade else None
        try:
            _run_online(metadata, Request(job, _Terminal(), lock, restrict=restrict))
        except Moved as moved:
            # A relative target such as +1 would mean another revision, counted from other heads.
            raise Moved(f"{moved}. See where it is: alembic current; then run again: {typed}") from None


def _run_online(metadata: sa.MetaData | None, request: Request) -> None:
    def forecast(scripts: Sequence[Revision], *, is_upgrade: bool, document: Any) -> Mapping[str, LockPlan]:
        # Loads the SQL parser.
        from pulumi_alembic.review.lock_forecast import of_scripts

        tables = sa.MetaData() if metadata is None else metadata
        return of_scripts(tables, scripts, is_upgrade=is_upgrade, document=document)

    run_online(metadata, request, forecast)


def _hold_contracts(job: Job, steps: list[Any]) -> None:
    """Remove the held contracts from the steps and print why, by the policy that the stack's last update stored.

    Raises TargetError if the requested revision is a held contract, or builds on one.
    """
    history = job.read_history()
    ids = [str(step.revision.revision) for step in steps if hasattr(step, "revision")]
    if not any(history.revisions[id].phase == CONTRACT for id in ids if id in history.revisions):
        return
    with connect(job.url) as connection:
        heads = read_heads(connection)
        applied = tuple(history.revisions[id] for id in history.ancestors([*heads, *ids]))
        pending = tuple(history.revisions[id] for id in ids)
        plan = Plan(heads, ids[-1], Direction.UPGRADE, pending, applied)
        plan = planner.without_held(connection, plan, history, Contracts(by_hand=True))
    target = str(getattr(context.config.cmd_opts, "revision", ""))
    if ids[-1] in plan.waits and not re.search(r"head|\+", target):
        raise TargetError(f"{plan.held_lines[-1]}. Nothing was run. To run it now:\n  {phases.COMMAND}")
    for line in plan.held_lines:
        _say(line)
    steps[:] = [step for step in steps if str(step.revision.revision) not in plan.waits]


def _check_after_contracts(metadata: sa.MetaData | None, job: Job) -> bool:
    """Compare the models for `alembic check` with the schema after contracts that wait. Return whether any waits.

    Alembic itself refuses to compare with a database that is not at the newest revision. Without differences it
    reports that there are none.

    Raises:
        CommandError: They differ.

    """
    history = job.read_history()
    if (
        metadata is None
        or not metadata.tables
        or not any(revision.phase == CONTRACT for revision in history.revisions.values())
    ):
        return False
    from pulumi_alembic.review.after_contracts import compare

    waiting, different = compare(metadata, job.url, history)
    if waiting:
        ids = " and ".join(waiting)
        _say(f"comparing tables, columns, types and NOT NULL with the schema after {ids}, which has not run yet")
    if different:
        raise CommandError(f"the models differ: {'; '.join(different)}. Change them, or add a revision")
    return bool(waiting)


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr, flush=True)


class _Terminal(Listener):
    def status(self, text: str) -> None:
        _say(text)

    waits = kept = status


class _Formatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def _log_to_terminal() -> None:
    """Print the progress that Alembic logs. A message is printed once, even if a revision is tried again."""
    shown: set[str] = set()

    def is_new(record: logging.LogRecord) -> bool:
        before = len(shown)
        shown.add(record.getMessage())
        return len(shown) > before

    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(is_new)
    handler.setFormatter(_Formatter("%(levelname)-5.5s [%(name)s] %(message)s"))
    for name in ("alembic.runtime.migration", "alembic.autogenerate"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
