"""A connection without a server, below a real engine: what psycopg would send goes to a recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import PGDDLCompiler
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg, PGExecutionContext_psycopg
from sqlalchemy.pool import NullPool

from pulumi_alembic.review.rendering.recorder import Recorder

__all__ = ["recording_engine", "take_down"]


class _Answer:
    """What a statement returned: it may be dropped and closed, and not be looked at."""

    def __init__(self, recorder: Recorder) -> None:
        self.__dict__["_recorder"] = recorder

    def close(self) -> None:
        """Nothing is open."""

    def _ask(self, *_: Any) -> NoReturn:
        recorder: Recorder = self.__dict__["_recorder"]
        recorder.refuse("reads what the database answers")

    _soft_close = close
    __getattr__ = __setattr__ = __iter__ = __next__ = __getitem__ = __len__ = __enter__ = __eq__ = _ask
    __str__ = __repr__ = __format__ = __contains__ = _ask
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        # As of any result: it says nothing of the rows.
        return True


class _Cursor:
    """psycopg's cursor, as far as something can be sent over it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.arraysize = 1

    def execute(self, query: Any, params: Any = None, **_: Any) -> _Cursor:
        """Take it down."""
        self._recorder.send(query, params)
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], **_: Any) -> None:
        """Take each down, as the server gets them."""
        for params in params_seq:
            self._recorder.send(query, params)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def __iter__(self) -> NoReturn:
        self._recorder.refuse("reads rows of the database")

    def __getattr__(self, name: str) -> Any:
        reason = "sends or fetches rows with COPY" if name == "copy" else "reads what the database answers"
        self._recorder.refuse(f"{reason} (cursor.{name})")


class _Connection:
    """psycopg's connection, as far as something can be sent over it."""

    def __init__(self, recorder: Recorder) -> None:
        if recorder.connected:
            recorder.refuse("opens a second connection of the engine, which the update has not")
        self.begin(recorder)

    def begin(self, recorder: Recorder) -> None:
        """From here on what is sent goes to this recorder."""
        recorder.connected = True
        self._recorder = recorder
        self.autocommit = False
        self.closed = self.broken = False

    def cursor(self, *args: Any, **_: Any) -> _Cursor:
        """A cursor on the client's side."""
        if args:
            self._recorder.refuse("reads rows of the database (a cursor of the server's)")
        return _Cursor(self._recorder)

    def execute(self, query: Any, params: Any = None, **_: Any) -> _Cursor:
        """As the connection of psycopg has it."""
        return self.cursor().execute(query, params)

    def commit(self) -> None:
        """Only the end of the revision may."""
        self._end()

    rollback = commit

    def close(self) -> None:
        """Nothing is open."""

    def _end(self) -> None:
        if self._recorder.open:
            self._recorder.refuse("ends the revision's transaction, which the update refuses")

    def __getattr__(self, name: str) -> Any:
        self._recorder.refuse(f"asks the connection for {name}")


class _Context(PGExecutionContext_psycopg):
    """Gives no result, if there is no server that made one."""

    def _setup_result_proxy(self) -> Any:
        dbapi: Any = self.cursor
        return _Answer(dbapi._recorder)


def _asked(what: str) -> Any:
    def ask(self: _Dialect) -> NoReturn:
        self.recorder().refuse(f"depends on {what}")

    return property(ask, lambda *_: None)


class _DDLCompiler(PGDDLCompiler):
    """What SQLAlchemy writes in another way for another version of the server is not known."""

    def visit_computed_column(self, generated: Any, **kw: Any) -> str:
        if not generated.persisted:
            dialect: Any = self.dialect
            dialect.recorder().refuse("depends on the server's version: a computed column without persisted=True")
        return str(super().visit_computed_column(generated, **kw))  # type: ignore[no-untyped-call]


class _Dialect(PGDialect_psycopg):
    """SQLAlchemy's own, before it is connected: what it would ask its first connection, nobody learns."""

    supports_statement_cache = True
    execution_ctx_cls = _Context
    ddl_compiler = _DDLCompiler
    supports_virtual_generated_columns = True
    recorder: Callable[[], Recorder]

    _supports_jsonb_subscripting = _asked("the server's version (JSONB subscripts)")
    _has_native_hstore = _asked("whether the database has hstore")
    server_version_info = _asked("the server's version")
    default_schema_name = _asked("the database's default schema")
    default_isolation_level = _asked("the database's isolation level")

    def get_isolation_level(self, dbapi_connection: Any) -> NoReturn:
        """Report to nobody."""
        self.recorder().refuse("depends on the database's isolation level")

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> NoReturn:
        """Only a block may."""
        self.recorder().refuse("changes the isolation level of the revision's transaction")


def take_down(connection: sa.Connection, recorder: Recorder) -> None:
    """What is sent over a connection of a recording engine goes to this recorder from here on."""
    recording: Any = connection.connection.dbapi_connection
    recording.begin(recorder)


def recording_engine(recorder: Callable[[], Recorder]) -> sa.Engine:
    """An engine whose statements all go to the recorder of the moment; it never connects to anything."""
    dialect = _Dialect(dbapi=psycopg)  # type: ignore[no-untyped-call]
    dialect.recorder = recorder
    create: Any = lambda: _Connection(recorder())  # noqa: E731 - a connection of psycopg's, as far as it goes
    pool = NullPool(create, reset_on_return=None)
    return sa.Engine(pool, dialect, sa.make_url("postgresql+psycopg://"))
