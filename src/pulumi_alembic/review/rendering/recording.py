"""A connection without a server below a real SQLAlchemy engine: a recorder receives what psycopg would send."""

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
    """The result of a statement. A script can drop or close it, but not read it."""

    def __init__(self, recorder: Recorder) -> None:
        self.__dict__["_recorder"] = recorder

    def close(self) -> None:
        """Do nothing."""

    def _ask(self, *_: Any) -> NoReturn:
        recorder: Recorder = self.__dict__["_recorder"]
        recorder.refuse("reads what the database answers")

    _soft_close = close
    __getattr__ = __setattr__ = __iter__ = __next__ = __getitem__ = __len__ = __enter__ = __eq__ = _ask
    __str__ = __repr__ = __format__ = __contains__ = _ask
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        # A result is true whatever its rows.
        return True


class _Cursor:
    """psycopg's cursor, as far as it sends statements."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.arraysize = 1

    def execute(self, query: Any, params: Any = None, **_: Any) -> _Cursor:
        """Record the statement."""
        self._recorder.send(query, params)
        return self

    def executemany(self, query: Any, params_seq: Iterable[Any], **_: Any) -> None:
        """Record the statement once for each row of parameters, as the server receives it."""
        for params in params_seq:
            self._recorder.send(query, params)

    def close(self) -> None:
        """Do nothing."""

    def __enter__(self) -> _Cursor:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def __iter__(self) -> NoReturn:
        self._recorder.refuse("reads rows of the database")

    def __getattr__(self, name: str) -> Any:
        reason = "sends or fetches rows with COPY" if name == "copy" else "reads what the database answers"
        self._recorder.refuse(f"{reason} (cursor.{name})")


class _Connection:
    """psycopg's connection, as far as it sends statements."""

    def __init__(self, recorder: Recorder) -> None:
        if recorder.connected:
            recorder.refuse("opens a second connection of the engine, which the update has not")
        self.begin(recorder)

    def begin(self, recorder: Recorder) -> None:
        """Send statements to this recorder from now on."""
        recorder.connected = True
        self._recorder = recorder
        self.autocommit = False
        self.closed = self.broken = False

    def cursor(self, *args: Any, **_: Any) -> _Cursor:
        """Return a client-side cursor."""
        if args:
            self._recorder.refuse("reads rows of the database (a cursor of the server's)")
        return _Cursor(self._recorder)

    def execute(self, query: Any, params: Any = None, **_: Any) -> _Cursor:
        """Record the statement, as psycopg's connection has this method too."""
        return self.cursor().execute(query, params)

    def commit(self) -> None:
        """Reject a commit before the end of the revision."""
        self._end()

    rollback = commit

    def close(self) -> None:
        """Do nothing."""

    def _end(self) -> None:
        if self._recorder.open:
            self._recorder.refuse("ends the revision's transaction, which the update refuses")

    def __getattr__(self, name: str) -> Any:
        self._recorder.refuse(f"asks the connection for {name}")


class _Context(PGExecutionContext_psycopg):
    """Returns no result, because no server made one."""

    def _setup_result_proxy(self) -> Any:
        dbapi: Any = self.cursor
        return _Answer(dbapi._recorder)


def _asked(what: str) -> Any:
    def ask(self: _Dialect) -> NoReturn:
        self.recorder().refuse(f"depends on {what}")

    return property(ask, lambda *_: None)


class _DDLCompiler(PGDDLCompiler):
    """Rejects constructs that SQLAlchemy compiles differently for another version of the server."""

    def visit_computed_column(self, generated: Any, **kw: Any) -> str:
        if not generated.persisted:
            dialect: Any = self.dialect
            dialect.recorder().refuse("depends on the server's version: a computed column without persisted=True")
        return str(super().visit_computed_column(generated, **kw))  # type: ignore[no-untyped-call]


class _Dialect(PGDialect_psycopg):
    """SQLAlchemy's dialect before it is connected. Reading what its first connection would query ends the script."""

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
        """End the script: only a connection has the level."""
        self.recorder().refuse("depends on the database's isolation level")

    def set_isolation_level(self, dbapi_connection: Any, level: Any) -> NoReturn:
        """End the script: only an autocommit block is allowed to change the level."""
        self.recorder().refuse("changes the isolation level of the revision's transaction")


def take_down(connection: sa.Connection, recorder: Recorder) -> None:
    """Record what a connection of a recording engine sends from now on."""
    recording: Any = connection.connection.dbapi_connection
    recording.begin(recorder)


def recording_engine(recorder: Callable[[], Recorder]) -> sa.Engine:
    """Return an engine that sends all statements to the current recorder, and never connects."""
    dialect = _Dialect(dbapi=psycopg)  # type: ignore[no-untyped-call]
    dialect.recorder = recorder
    create: Any = lambda: _Connection(recorder())  # noqa: E731 - a connection of psycopg's, as far as it goes
    pool = NullPool(create, reset_on_return=None)
    return sa.Engine(pool, dialect, sa.make_url("postgresql+psycopg://"))
