"""Run the pending revisions in the scratch database with the runner of an update, then their downgrades."""

from __future__ import annotations

import ctypes
import io
import os
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import takewhile
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from pulumi_alembic.database.retry import server_error
from pulumi_alembic.errors import MigrationError, NotRehearsed, RevisionFailed
from pulumi_alembic.migrate import alembic_run
from pulumi_alembic.migrate.job import Job, Request
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.rehearsal.doubt import doubt
from pulumi_alembic.review.rehearsal.guard import kept_inside
from pulumi_alembic.review.rehearsal.observer import Observer
from pulumi_alembic.review.rendering.dependence import needs_watch
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, Plan, revision_text
from pulumi_alembic.sql.catalog import Catalog

__all__ = ["MISSING", "Performed", "perform", "perform_back"]

_NOTICES = 1.0  # seconds
LIMIT = 30.0
"""Seconds after which a rehearsal is ended, for each direction."""

MISSING = ("42P01", "42704", "42883")
"""SQLSTATEs of an undefined table, object and function."""


@dataclass(frozen=True)
class Performed:
    """The result of running steps in a scratch database.

    Attributes:
        observer: Has the record of the steps that ran.
        failed: The reason why the next step failed. Empty if all ran.
        doubt: The reason why that step can succeed on the target. Empty if it cannot.
        missed: Whether the server did not find an object that the step named.

    """

    observer: Observer
    failed: str
    doubt: str = ""
    missed: bool = False


def perform(url: str, steps: Plan, history: History, catalog: Catalog | None) -> Performed:
    """Run the steps in the scratch database.

    Args:
        url: The login's URL of the scratch database.
        steps: The plan.
        history: The scripts.
        catalog: The catalog before the steps. If it is None, no catalogs are recorded.

    Raises:
        NotRehearsed: A script would act outside of the database, or takes too long.

    """
    _refuse_libpq(steps)
    deadline = time.monotonic() + LIMIT
    paths = [os.path.abspath(step.path) for step in steps.steps]  # noqa: PTH100 - as frames name it
    observer = Observer(paths, deadline, catalog)
    job = Job(
        _limited(url),
        history.manifest.path.parent,
        command="preview",
        policy=Policy(lock_deadline=1.0, keep_data=False),
        history=history,
        # The tables are empty, and the guard of data loss would take locks that are not the statements' own.
        allow_data_loss=frozenset(history.revisions),
    )
    try:
        with _silence(), _kept_inside(steps), _ended_at(observer, deadline):
            alembic_run.run(steps, history, Request(job, observer, observer=observer))
    except RevisionFailed as error:
        if time.monotonic() > deadline:
            raise NotRehearsed(f"it takes longer than {LIMIT:.0f} s") from None
        own = {name.rpartition(".")[2].strip('"') for name in (catalog.functions if catalog else ())}
        return Performed(
            observer,
            _cause(error),
            doubt(error.error, [statement.sql for statement in observer.rest], own),
            _missed(error),
        )
    except MigrationError as error:
        raise NotRehearsed(str(error).splitlines()[0]) from None
    return Performed(observer, "")


def perform_back(url: str, steps: Plan, forth: Observer, history: History) -> Performed | None:
    """Run the downgrades of the upgrades that ran, the newest first, until the script of a squash, which has none.

    Returns None if none ran. Raises as `perform` does.
    """
    ran = tuple(takewhile(lambda step: not step.replaces, reversed(steps.steps[: len(forth.seen)])))
    back = Plan(forth.heads, revision_text(steps.current), Direction.DOWNGRADE, ran)
    return perform(url, back, history, None) if ran else None


def _refuse_libpq(steps: Plan) -> None:
    """Reject scripts that use libpq itself: its statements cannot be seen, nor its commits be prevented."""
    if any("pgconn" in step.source for step in steps.steps):
        raise NotRehearsed("it uses libpq (pgconn) itself")


@contextmanager
def _ended_at(observer: Observer, deadline: float) -> Iterator[None]:
    """At the deadline cancel the running statement, then raise an exception in the script until it ends."""
    runs, leaving = threading.get_ident(), threading.Lock()

    def end() -> None:
        observer.cancel()
        while not left.wait(_NOTICES):
            with leaving:
                if not left.is_set():
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(runs), ctypes.py_object(_TookTooLong))

    left = threading.Event()
    timer = threading.Timer(deadline - time.monotonic(), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with leaving:
            left.set()


class _TookTooLong(NotRehearsed):
    """The exception that is raised between two lines of a script."""

    def __init__(self) -> None:
        super().__init__(f"it takes longer than {LIMIT:.0f} s")


@contextmanager
def _kept_inside(steps: Plan) -> Iterator[None]:
    # Watching costs time, and is not needed for a script whose source shows that it does nothing outside.
    paths = [os.path.abspath(step.path) for step in steps.steps if needs_watch(step.source)]  # noqa: PTH100
    with ExitStack() as stack:
        if paths:
            stack.enter_context(kept_inside(paths))
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """Discard a script's output and warnings. The update prints them."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _limited(url: str) -> str:
    """Return the login's URL with a statement timeout, and with commits that do not wait for the disk."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    limits = f"-c statement_timeout={LIMIT * 1000:.0f} -c synchronous_commit=off"
    query["options"] = f"{query.get('options', '')} {limits}".strip()
    return urlunsplit(parts._replace(query=urlencode(query).replace("+", "%20")))


def _cause(error: RevisionFailed) -> str:
    """Return the line and the reason. The preview shows the statement, and advice for an update would be wrong here."""
    lines = [line.strip() for line in str(error).splitlines()[1:-2]]
    return ", ".join(line for line in lines if _is_said(line, lines)) or lines[0]


def _missed(error: RevisionFailed) -> bool:
    server = server_error(error.error) if error.error is not None else None
    return server is not None and server.sqlstate in MISSING


def _is_said(line: str, lines: Sequence[str]) -> bool:
    reasons = ("line ", "PostgreSQL: ", "detail: ", "hint: ")
    return line.startswith(reasons) or not any(other.startswith("statement: ") for other in lines)
