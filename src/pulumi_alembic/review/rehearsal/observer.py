"""Record the statements that revisions send in a rehearsal, and the locks that the server shows after each one."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.sql import Composable

from pulumi_alembic.database.connection import VERSION_SCHEMA, read_heads
from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.database.literals import Unbindable, bound
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.migrate.blocks.statement import NOTHING
from pulumi_alembic.migrate.job import Listener
from pulumi_alembic.review.rehearsal.guard import SHARED, refuse_shared
from pulumi_alembic.review.rehearsal.renames import NAMES, Names, Rename, renames
from pulumi_alembic.review.rehearsal.watched_session import PlainCursor, watch
from pulumi_alembic.sql.catalog import QUERY, Catalog, quoted
from pulumi_alembic.sql.locks import MODES
from pulumi_alembic.sql.outside_transaction import BACKFILL, BATCHED

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Observation", "Observer", "Reading", "Sent"]

_OWN = r"""
SELECT c.oid::bigint, CASE WHEN nspname LIKE 'pg\_temp\_%' THEN 'pg_temp' ELSE nspname END, relname, relkind::text,
    relfilenode::bigint
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\_toast%'
"""
_LOCKED = r"""
SELECT relation::bigint, mode, database = 0,
    CASE WHEN nspname LIKE 'pg\_temp\_%' THEN 'pg_temp' ELSE nspname END, relname, relkind::text, relfilenode::bigint
FROM pg_catalog.pg_locks LEFT JOIN pg_catalog.pg_class c ON c.oid = relation
    LEFT JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE locktype = 'relation' AND granted AND pid = pg_catalog.pg_backend_pid()
    AND (relation >= 16384 OR mode <> 'AccessShareLock')
ORDER BY nspname, relname
"""
_KINDS = "rpmfv"
"""The kinds of relations whose locks are shown, as in the static analysis."""

_OURS = "pulumi_alembic."
_FOR_SCRIPTS = (__name__, "pulumi_alembic.migrate.ensure")
"""Modules of this library that send statements on behalf of a script."""


@dataclass(frozen=True)
class Reading:
    """The state of a transaction after a statement. Tables have the names from before the statement.

    Attributes:
        held: The modes of all locks that the transaction holds, by table.
        rewritten: The tables that have new files.

    """

    held: Mapping[str, frozenset[str]]
    rewritten: tuple[str, ...]


@dataclass(frozen=True)
class Sent:
    """One statement as the server received it.

    Attributes:
        sql: The text, with its parameters filled in.
        outside: Whether it ran outside of a transaction.
        read: The state after it. None if it ran outside of a transaction.
        nothing: Whether an earlier, interrupted run has already done its work.

    """

    sql: str
    outside: bool
    read: Reading | None = None
    nothing: bool = False


@dataclass(frozen=True)
class Observation:
    """What one revision did.

    Attributes:
        sent: The statements that it sent.
        before: The catalog before its first statement.
        lines: The lines of the fingerprint after it.
        renames: The renames between the names before it and those after it.

    """

    sent: tuple[Sent, ...]
    before: Catalog | None
    lines: tuple[str, ...]
    renames: tuple[Rename, ...] = ()


class Observer(Listener):
    """Records the statements that scripts send, in every session that it is given.

    Statements that this library sends for itself are not recorded. `seen` lists the complete revisions in order.
    `rest` lists the statements of the incomplete one, and `heads` are the database's heads after `seen`.
    """

    def __init__(self, paths: Collection[str], deadline: float, first: Catalog | None = None) -> None:
        """Begin to observe.

        Args:
            paths: The files of the scripts.
            deadline: The time of `time.monotonic` after which every statement raises NotRehearsed.
            first: The catalog before all revisions. If it is None, no catalog is read.

        """
        self.seen: list[Observation] = []
        self.rest: list[Sent] = []
        self.heads: tuple[str, ...] = ()
        self._paths = paths
        self._deadline = deadline
        self._session: Connection | None = None
        self._first = first
        self._before: Catalog | None = None
        self._known: dict[int, tuple[str, str, int]] = {}
        self._names: Names = {}

    def session(self, session: Connection) -> None:
        """Observe the session in which revisions run from now on. The incomplete revision was rolled back."""
        self.rest, self._before, self._session = [], None, session
        session.cursor_factory = partial(_made, _Cursor, self)  # type: ignore[assignment]
        session.server_cursor_factory = partial(_made, _ServerCursor, self)  # type: ignore[assignment]
        watch(session, self.is_own, self._refuse_shared)
        self._know()
        self._names = self._read_names()
        session.rollback()

    def cancel(self) -> None:
        """Cancel the running statement, from another thread."""
        if self._session is not None and not self._session.closed:
            with suppress(psycopg.Error):
                self._session.cancel()

    def batched(self, statement: str) -> None:
        """Record the beginning of a batched update."""
        self.rest.append(Sent(f"{statement} {BATCHED}", outside=True))

    def backfill(self, statement: str) -> None:
        """Record that the revision declares a backfill."""
        self.rest.append(Sent(f"{statement} {BACKFILL}", outside=True))

    def applied(self, revision: str) -> None:
        """Record that the running revision is complete, in its transaction."""
        assert self._session is not None  # noqa: S101 - a revision ran in it
        self.heads = read_heads(self._session)
        names = self._read_names()
        renamed = tuple(renames(self._names, names))
        self.seen.append(Observation(tuple(self.rest), self._before, read_lines(self._session), renamed))
        self._names = names
        self.rest, self._before = [], None

    def is_own(self) -> bool:
        """Return whether a script sends the current statement."""
        frame = sys._getframe(2)
        while frame is not None:
            module = frame.f_globals.get("__name__", "")
            if module.startswith(_OURS) and module not in _FOR_SCRIPTS:
                return False
            if os.path.abspath(frame.f_code.co_filename) in self._paths:  # noqa: PTH100 - as frames name it
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False

    @contextmanager
    def sends(self, query: Any, rows: Iterator[Any]) -> Iterator[None]:
        """Record a query that the block sends, once for each row of parameters."""
        if time.monotonic() > self._deadline:
            raise NotRehearsed("it took too long")
        session = self._session
        assert session is not None  # noqa: S101 - a cursor of it sends
        text = query.as_string(session) if isinstance(query, Composable) else query
        text = text.decode() if isinstance(text, bytes) else text
        texts = [_filled(text, row) for row in rows]
        for shown in dict.fromkeys(texts):
            refuse_shared(shown, outside=session.autocommit)
        if self._first is not None and not self.rest:
            self._before = self._read_catalog(session) if self.seen else self._first
        outside = session.autocommit
        first = len(self.rest)
        self.rest += [Sent(sql, outside, nothing=sql == NOTHING) for sql in texts]
        yield
        if not outside and session.info.transaction_status == TransactionStatus.INTRANS:
            read = self._read()
            if text.lstrip().upper().startswith("ROLLBACK"):
                # The rollback restored the names and files of the savepoint.
                self._know()
            self.rest[first:] = [Sent(sent.sql, outside, read) for sent in self.rest[first:]]

    def _know(self) -> None:
        assert self._session is not None  # noqa: S101 - it was just told
        rows = PlainCursor(self._session).execute(_OWN.encode())
        self._known = {oid: (quoted(schema, name), kind, file) for oid, schema, name, kind, file in rows}

    def _read_names(self) -> Names:
        assert self._session is not None  # noqa: S101 - it was just told
        rows = PlainCursor(self._session).execute(NAMES.encode())
        return {(kind, oid, number): (name, place) for kind, oid, number, name, place in rows}

    def _read_catalog(self, session: Connection) -> Catalog:
        [(document,)] = PlainCursor(session).execute(QUERY.encode()).fetchall()
        return Catalog.of(document)

    def _refuse_shared(self) -> None:
        assert self._session is not None  # noqa: S101
        if self._session.info.transaction_status == TransactionStatus.INTRANS:
            _refuse(PlainCursor(self._session).execute(_LOCKED.encode()).fetchall())

    def _read(self) -> Reading:
        assert self._session is not None  # noqa: S101
        locks = PlainCursor(self._session).execute(_LOCKED.encode()).fetchall()
        # A relation without a name was dropped by the statement.
        now = {oid: (quoted(one[0], one[1]), *one[2:]) for oid, _, _, *one in locks if one[0]}
        _refuse(locks)
        held: dict[str, set[str]] = {}
        rewritten: dict[str, None] = {}
        for oid, mode, *_ in locks:
            described = self._known.get(oid) or now.get(oid)
            if (
                described is None
                or oid < _FIRST
                or described[1] not in _KINDS
                or described[0].startswith(f"{VERSION_SCHEMA}.")
            ):
                continue
            if (words := _in_words(mode)) in MODES:
                held.setdefault(described[0], set()).add(words)
            if oid in self._known and oid in now and now[oid][2] != described[2] and described[1] in "rm":
                rewritten[described[0]] = None
        self._known |= {oid: relation for oid, relation in now.items() if oid >= _FIRST}
        return Reading({name: frozenset(modes) for name, modes in held.items()}, tuple(rewritten))


def _refuse(locks: Iterable[tuple[Any, ...]]) -> None:
    if SHARED & {name for _, _, is_shared, _, name, *_ in locks if is_shared}:
        raise NotRehearsed("it changes what all databases of the server have in common, roles or databases")


_FIRST = 16384
"""The lowest oid of a relation that is not part of the system catalog (PostgreSQL's FirstNormalObjectId)."""


def _in_words(mode: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", mode.removesuffix("Lock")).upper()


def _filled(text: str, parameters: Any) -> str:
    try:
        return bound(text, parameters)
    except Unbindable:
        return text


def _made(kind: Callable[..., Any], observer: Observer, *args: Any, **kw: Any) -> Any:
    cursor = kind(*args, **kw)
    cursor.observer = observer
    return cursor


class _Cursor(psycopg.Cursor[Any]):
    """Passes what a script sends to the observer."""

    observer: Observer

    def execute(self, query: Any, params: Any = None, **kw: Any) -> _Cursor:
        """Execute as psycopg does."""
        if not self.observer.is_own():
            return super().execute(query, params, **kw)
        with self.observer.sends(query, iter([params])):
            return super().execute(query, params, **kw)

    def executemany(self, query: Any, params_seq: Any, **kw: Any) -> None:
        """Execute as psycopg does."""
        rows = list(params_seq)
        if not self.observer.is_own():
            return super().executemany(query, rows, **kw)
        with self.observer.sends(query, iter(rows)):
            return super().executemany(query, rows, **kw)

    def stream(self, query: Any, params: Any = None, **kw: Any) -> Iterator[Any]:
        """Stream as psycopg does."""
        if self.observer.is_own():
            with self.observer.sends(query, iter([params])):
                pass
        return super().stream(query, params, **kw)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **kw: Any) -> Iterator[Any]:
        """Copy as psycopg does."""
        if not self.observer.is_own():
            with super().copy(statement, params, **kw) as copy:
                yield copy
            return
        with self.observer.sends(statement, iter([params])), super().copy(statement, params, **kw) as copy:
            yield copy


class _ServerCursor(psycopg.ServerCursor[Any]):
    """Passes the query of a script's server-side cursor to the observer."""

    observer: Observer

    def execute(self, query: Any, params: Any = None, **kw: Any) -> _ServerCursor:
        """Declare the cursor as psycopg does."""
        if not self.observer.is_own():
            return super().execute(query, params, **kw)
        with self.observer.sends(query, iter([params])):
            return super().execute(query, params, **kw)
