"""Read the database, plan, run, read again: all that the provider does, without Pulumi."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from pulumi_alembic.database.connection import await_server
from pulumi_alembic.database.migration_lock import hold
from pulumi_alembic.database.sessions import waits
from pulumi_alembic.errors import DatabaseError, Moved
from pulumi_alembic.migrate.loading import for_good
from pulumi_alembic.migrate.planner import look_closely, read_revision
from pulumi_alembic.migrate.request import Request
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.plan import Plan
from pulumi_alembic.scripts.trust import Trust

__all__ = ["migrate"]


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
    approve: Callable[[Plan], Mapping[str, Any] | None] = lambda plan: None,
    allow_data_loss: frozenset[str] = frozenset(),
    stack: str = "",
    back_up: Callable[[Plan, Origin], str] = lambda plan, origin: "",
    trust: Trust | None = None,
    on_kept: Callable[[str], None] = lambda text: None,
    around: AbstractContextManager[object] | None = None,
    origin: Origin | None = None,
    history: History | None = None,
) -> str:
    """Bring the database to `target`, and return the revision that it then says it is at, read on a new connection.

    One migration at a time: whoever waited for another starts from where that left the database, which may be the
    target. Safe to repeat: it starts from what the database says, not from what an earlier run believed. Raises
    RevisionFailed as `alembic_run.run` does; `command` is what its message tells the person to repeat. `on_status` is
    told what goes on, and `on_wait` for which other migration or session it waits. `approve` is told what
    would run, once nobody else migrates: what it raises ends the run before anything of it has run, and what it returns
    is kept in the ledger, by revision. So does what `back_up` raises, which comes next, and returns the id of a backup
    or nothing. `allow_data_loss` are the revisions that may take away rows; `on_kept` is told what is set aside and
    what is put back. `stack` is kept in the ledger, and the rest of `origin`, which is found out where it is not given;
    so is the `history`, which is that of the directory.
    With `trust` the ledger's scripts are run where there are no others, as `planner.look_closely` says. `around` is
    entered once nobody else migrates, and left before others may.
    """
    policy = policy or Policy()
    with (
        waits(on_wait, policy.lock_deadline),
        hold(url, policy, command, on_wait) as lock,
        around or nullcontext(),
    ):
        request = Request(
            url, command, on_applied, on_status, policy, lock, allow_data_loss=allow_data_loss, origin=Origin(stack)
        )
        request = replace(request, on_kept=on_kept)
        while not _reach(directory, target, request, approve, back_up, trust, origin, history):
            lock.ensure()
        revision = _read_at_last(url, policy)
    if revision != target:
        raise DatabaseError(
            f"every revision ran, yet the database is at {revision} and not at {target}. Look again: {command}"
        )
    return revision


def _reach(
    directory: Path,
    target: str,
    request: Request,
    approve: Callable[[Plan], Mapping[str, Any] | None],
    back_up: Callable[[Plan, Origin], str],
    trust: Trust | None,
    origin: Origin | None,
    history: History | None,
) -> bool:
    """Run what is pending; False where another migration came between, and the plan is to be made anew."""
    looked = look_closely(request.url, directory, target, trust=trust, history=history)
    if not looked.plan.steps:
        return True
    notes = approve(looked.plan) or {}
    # Git is asked while Alembic is loaded.
    with ThreadPoolExecutor(1) as aside:
        asked = aside.submit(lambda: origin or Origin.of(directory, request.origin.stack))
        run = _load_run()
    found = asked.result()
    backup = back_up(looked.plan, found)
    known = replace(request, scripts=looked.history.revisions, origin=found, backup=backup, notes=notes)
    try:
        run(looked.plan, looked.history, known)
    except Moved as moved:
        request.on_status(f"{moved}: plans again")
        return False
    return True


def _load_run() -> Callable[[Plan, History, Request], None]:
    """What runs a plan, with all that an env.py loads."""
    with for_good("pulumi_alembic.migrate.online"):
        from pulumi_alembic.migrate import alembic_run, authoring, online  # noqa: F401 - env.py needs them

    return alembic_run.run


def _read_at_last(url: str, policy: Policy) -> str:
    """What the database says in the end; a connection that is lost here is no failure of what ran."""
    try:
        return read_revision(url)
    except DatabaseError:
        await_server(url, policy.lock_deadline)
        return read_revision(url)
