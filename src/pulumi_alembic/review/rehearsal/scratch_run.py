"""The pending revisions run in the scratch database, by the same runner as in an update, and then back again."""

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
"""Seconds after which a rehearsal, there or back, is ended."""

MISSING = ("42P01", "42704", "42883")
"""There is no such table, object or function."""


@dataclass(frozen=True)
class Performed:
    """What was seen of the steps that ran, in order; and why the next one failed, empty where all ran.

    `doubt` says why that one can succeed on the target all the same, if it can. `missed` is whether the server did not
    find what it named.
    """

    observer: Observer
    failed: str
    doubt: str = ""
    missed: bool = False


def perform(url: str, steps: Plan, history: History, catalog: Catalog | None) -> Performed:
    """Run the steps as the login of `url`, whose database is the scratch one.

    `catalog` is what is there before; None where nobody asks for that. Raises NotRehearsed where that would do
    something outside of it, or takes too long.
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
        # There are no rows, and the locks are to be the statements' own.
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


def perform_back(url: str, steps: Plan, forth: Observer, history: History) -> Performed:
    """Run the other direction of what ran of an upgrade, the newest first; raises as `perform` does."""
    ran = reversed(steps.steps[: len(forth.seen)])
    back = Plan(forth.heads, revision_text(steps.current), Direction.DOWNGRADE, tuple(ran))
    return perform(url, back, history, None)


def _refuse_libpq(steps: Plan) -> None:
    """Over libpq itself statements go that nobody sees; a commit among them cannot be prevented."""
    if any("pgconn" in step.source for step in steps.steps):
        raise NotRehearsed("it uses libpq (pgconn) itself")


@contextmanager
def _ended_at(observer: Observer, deadline: float) -> Iterator[None]:
    """In time the server ends the statement that runs; a script that does not notice is ended in its own code."""
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
    """Raised between two lines of a script."""

    def __init__(self) -> None:
        super().__init__(f"it takes longer than {LIMIT:.0f} s")


@contextmanager
def _kept_inside(steps: Plan) -> Iterator[None]:
    # What cannot be seen in its source does nothing of its own: it would be slower for nothing.
    paths = [os.path.abspath(step.path) for step in steps.steps if needs_watch(step.source)]  # noqa: PTH100
    with ExitStack() as stack:
        if paths:
            stack.enter_context(kept_inside(paths))
        yield


@contextmanager
def _silence() -> Iterator[None]:
    """What a script prints and warns of, the update prints."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _limited(url: str) -> str:
    """The same login, whose statements the server ends in time, and whose commits wait for no disk."""
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    limits = f"-c statement_timeout={LIMIT * 1000:.0f} -c synchronous_commit=off"
    query["options"] = f"{query.get('options', '')} {limits}".strip()
    return urlunsplit(parts._replace(query=urlencode(query).replace("+", "%20")))


def _cause(error: RevisionFailed) -> str:
    """The place and the reason, without the statement, which the preview shows, and without what to do in an update."""
    lines = [line.strip() for line in str(error).splitlines()[1:-2]]
    return ", ".join(line for line in lines if _is_said(line, lines)) or lines[0]


def _missed(error: RevisionFailed) -> bool:
    server = server_error(error.error) if error.error is not None else None
    return server is not None and server.sqlstate in MISSING


def _is_said(line: str, lines: Sequence[str]) -> bool:
    reasons = ("line ", "PostgreSQL: ", "detail: ", "hint: ")
    return line.startswith(reasons) or not any(other.startswith("statement: ") for other in lines)
