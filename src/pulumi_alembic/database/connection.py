"""Connections to the target database, always as the role that owns the migration tables, and what is read over them."""

from __future__ import annotations

import os
import re
import sys
import time
import traceback
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import generators, sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row

from pulumi_alembic.database import libpq, server_message
from pulumi_alembic.database.endpoint import refuse_transaction_pooling
from pulumi_alembic.database.sessions import Patience, Wait, looking, patience
from pulumi_alembic.errors import DatabaseError

if TYPE_CHECKING:
    from pulumi_alembic.sql.catalog import Catalog

__all__ = [
    "KEPT_SCHEMA",
    "OWN_OPTIONS",
    "VERSION_SCHEMA",
    "VERSION_TABLE",
    "Aborted",
    "Connection",
    "NoDatabase",
    "NoLogin",
    "Session",
    "add_heads",
    "as_itself",
    "await_server",
    "connect",
    "find_relation",
    "log_in",
    "login_search_path",
    "open_session",
    "own_rows",
    "read_catalog",
    "read_catalog_document",
    "read_heads",
    "refusals",
    "send",
]

VERSION_SCHEMA = "migrations"
"""The schema of the migration tables: their own, so that default privileges of the application's do not reach them."""

KEPT_SCHEMA = "kept"
"""The schema of what downgrades delete: the owner's, and nobody else's."""

OWN_OPTIONS = "-c search_path=pg_catalog,pg_temp"
"""The libpq option of every session of our own: no name that we send finds an object that somebody else made.

As an option it holds from the beginning, whatever the settings of the login and the database say.
"""

_OWN_PATH = "pg_catalog, pg_temp"

VERSION_TABLE = "alembic_version"
# As Alembic 1.20 makes it.
_VERSION_TABLE = """
CREATE TABLE {} (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
"""
CONNECT_TIMEOUT = 15  # seconds
KNOCK = 0.25  # seconds between two tries to reach a server that went away
KEEPALIVE = 10  # seconds without a word after which each end asks whether the other is still there


@dataclass(frozen=True)
class Aborted:
    """The error that aborted a transaction: what was sent, and from which lines of which files, the innermost first."""

    error: psycopg.Error
    statement: str
    lines: tuple[tuple[str, int], ...]

    def line_of(self, file: str) -> int | None:
        """The line of this file that sent the statement; None if the file sent nothing."""
        return next((line for name, line in self.lines if name == file), None)


Connection = psycopg.Connection[tuple[Any, ...]]


_AS_ITSELF: ContextVar[bool] = ContextVar("as_itself", default=False)


@contextmanager
def as_itself() -> Iterator[None]:
    """Within the block a session of a login that cannot become the owner stays the login's own: it can look."""
    token = _AS_ITSELF.set(True)
    try:
        yield
    finally:
        _AS_ITSELF.reset(token)


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that remembers the error that aborted its transaction.

    A program that catches an error and continues sees later errors only, which tell nothing. `aborted` is None as soon
    as the transaction is whole again, by ROLLBACK TO SAVEPOINT, or another one has begun.

    With `patience` a statement that waits for another session says for whom, and `wait_ended` is the last wait that a
    limit of the session ended.
    """

    aborted: Aborted | None = None
    patience: Patience | None = None
    wait_ended: Wait | None = None

    def wait(self, gen: Any, *args: Any, **kw: Any) -> Any:
        """As psycopg's. Everything that is sent over the connection passes here."""
        if self.patience is not None:
            gen = looking(gen, self, self.patience)
        try:
            result = super().wait(gen, *args, **kw)
        except psycopg.Error as error:
            if self.aborted is None and self.pgconn.transaction_status == TransactionStatus.INERROR:
                frames = [*traceback.walk_stack(sys._getframe(1))]
                scopes = [frame.f_locals for frame, _ in frames[:_NEAR]]
                sent = next((variables[name] for variables in scopes for name in _SENT if name in variables), "")
                lines = tuple((frame.f_code.co_filename, line) for frame, line in frames)
                self.aborted = Aborted(error, _text(sent), lines)
            raise
        if self.aborted is not None and self.pgconn.transaction_status == TransactionStatus.INTRANS:
            self.aborted = None
        return result


_SENT = ("query", "statement", "statements")
"""How the methods of psycopg's cursors, and `send`, call what they send."""
_NEAR = 3
"""The number of frames from `wait` to the one of these methods; a rehearsal's session has one in between."""


def _text(sent: Any) -> str:
    if isinstance(sent, bytes):
        return sent.decode(errors="replace")
    return sent.as_string() if isinstance(sent, sql.Composable) else str(sent)


class NoDatabase(DatabaseError):
    """The server answers, and has no database of that name."""


class NoLogin(DatabaseError):
    """The server answers, and refuses this role or password."""


def open_session(url: str) -> Session:
    """A new session for revisions, whose current role owns VERSION_SCHEMA; the caller closes it.

    Its search_path is the login's, which revisions are written for. For any other work use `connect`. The role is set
    explicitly, because a pooler can ignore the settings of a login. Raises DatabaseError, with the server's words and
    never the URL, if there is no such database, login, schema or right, or no schema of the search_path exists.
    """
    connection = _open(url, own=False)
    try:
        with refusals(connection):
            _require_schema(connection)
            connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def log_in(url: str, application: str = "alembic", *, autocommit: bool = False, own: bool = True) -> Session:
    """A new session as the login itself, which sees more of the sessions of the same login than the owner does.

    With `own` its search_path is that of OWN_OPTIONS, and it waits for locks as `sessions.waits` says; otherwise both
    are the login's: only for statements of somebody else's.
    The server ends it soon after its client is gone. Raises DatabaseError as `connect` does, and if a pooler gives
    each transaction another session; the caller closes it.
    """
    connection = _raw(url, application, own=own)
    try:
        with refusals(connection):
            path = _notice_loss(connection, connection.info.backend_pid)
            if path is None:
                # If the session has another number than it said at first, there is a pooler.
                another = refuse_transaction_pooling(connection, lambda: _raw(url, application, own=own))
                path = _notice_loss(connection, another)
            if own and (path or "").replace(" ", "") != _OWN_PATH.replace(" ", ""):
                # A pooler dropped the options: the server itself does not.
                limit = _milliseconds(patience().seconds)
                connection.execute(f"SET search_path = {_OWN_PATH}; SET lock_timeout = {limit}".encode())
            if own:
                connection.patience = patience()
            connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def login_search_path(url: str) -> str:
    """The search_path that a session of this login begins with, as PostgreSQL prints it. Raises as `connect` does."""
    with closing(_raw(url, "alembic", own=False)) as connection, refusals(connection):
        [(path,)] = connection.execute("SHOW search_path").fetchall()
        return str(path)


def await_server(url: str, seconds: float) -> None:
    """Return as soon as the server answers again; after so many seconds raise DatabaseError with what it says then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _raw(url, "alembic", own=True).close()
        except (NoDatabase, NoLogin):
            raise
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(KNOCK)


@contextmanager
def connect(url: str) -> Iterator[Session]:
    """A session of our own as the role that owns VERSION_SCHEMA; at the end what was not committed is rolled back.

    Its search_path is that of OWN_OPTIONS. Raises DatabaseError as `open_session` does.
    """
    with closing(_open(url, own=True)) as connection, refusals(connection):
        connection.autocommit = False
        yield connection


@contextmanager
def refusals(connection: Connection) -> Iterator[None]:
    """Turn what the server refuses within the block into a DatabaseError that says where."""
    where = f"database {connection.info.dbname} as {connection.info.user}"
    try:
        yield
    except UnicodeDecodeError:
        raise DatabaseError(
            f"{where}: it holds text that is not UTF-8, as a database of the encoding SQL_ASCII can. Rename what is "
            "named in another encoding"
        ) from None
    except psycopg.Error as error:
        code = error.sqlstate or ("connection lost" if connection.closed else type(error).__name__)
        wait = connection.wait_ended if isinstance(connection, Session) else None
        waited = f": {wait}. {wait.advice}" if wait and wait.error is error else ""
        raise DatabaseError(f"{where}: {server_message.summary(error)} ({code}){waited}") from None


@contextmanager
def own_rows(session: Session) -> Iterator[None]:
    """Within the block the session's rows are tuples, whatever a script made of them."""
    factory, session.row_factory = session.row_factory, tuple_row
    try:
        yield
    finally:
        session.row_factory = factory


def send(connection: Connection, statements: bytes) -> psycopg.pq.abc.PGresult:
    """The last answer to what is sent in one message, without what a cursor does with it. Raises psycopg.Error."""
    connection.pgconn.send_query(statements)
    answer: psycopg.pq.abc.PGresult = connection.wait(_last_answer(connection.pgconn))
    return answer


def _last_answer(pgconn: psycopg.pq.abc.PGconn) -> Generator[Any, Any, psycopg.pq.abc.PGresult]:
    last: psycopg.pq.abc.PGresult = (yield from generators.execute(pgconn))[-1]
    if last.status not in (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK):
        error = psycopg.errors.error_from_result(last)
        # Without a word from the server there is no server: psycopg says so of what it sends itself.
        raise error if error.sqlstate else psycopg.OperationalError(str(error))
    return last


def read_heads(connection: Connection) -> tuple[str, ...]:
    """The revisions that the database itself says it is at, sorted; none where nothing was ever applied."""
    table = sql.Identifier(VERSION_SCHEMA, VERSION_TABLE)
    if connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)]).fetchone() == (None,):
        return ()
    rows = connection.execute(sql.SQL("SELECT version_num FROM {} ORDER BY 1").format(table))
    return tuple(row[0] for row in rows)


def add_heads(connection: Connection, heads: Iterable[str]) -> None:
    """The database says that it is at these revisions too, in Alembic's table, which is made where it is not there."""
    table = sql.Identifier(VERSION_SCHEMA, VERSION_TABLE)
    if connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)]).fetchone() == (None,):
        connection.execute(sql.SQL(_VERSION_TABLE).format(table))
    for head in heads:
        connection.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(table), [head])


def read_catalog(connection: Connection, search_path: str = "") -> Catalog:
    """What is in the database, as the session sees it. It waits for no lock.

    With a `search_path` it is what a session with this one sees, and not with the session's own.
    """
    from pulumi_alembic.sql.catalog import Catalog

    return Catalog.of(read_catalog_document(connection, search_path))


def read_catalog_document(connection: Connection, search_path: str = "") -> Any:
    """As `read_catalog`, but the JSON values that `Catalog.of` takes."""
    from pulumi_alembic.sql.catalog import QUERY
    from pulumi_alembic.sql.garbage import uncollected

    with uncollected():
        if search_path:
            return _seen_with(connection, search_path, QUERY)
        [(document,)] = connection.execute(QUERY.encode()).fetchall()
        return document


def find_relation(connection: Connection, name: str, search_path: str) -> str | None:
    """The full name of what a session with this search_path finds by `name`; None if it finds nothing."""
    relation = sql.SQL("SELECT to_regclass({})::oid::bigint").format(sql.Literal(name)).as_string(None)
    oid = _seen_with(connection, search_path, relation)
    [(full,)] = connection.execute("SELECT %s::oid::regclass::text", [oid]).fetchall()
    return None if full is None else str(full)


def _seen_with(connection: Connection, search_path: str, query: str) -> Any:
    """The value of a query that calls functions which look at the search_path, and here find another one than ours.

    The query's own names are looked up before that: PostgreSQL makes the values of a row from left to right, and that
    of a subquery when it comes to it.
    """
    theirs, own = (sql.Literal(path).as_string(None) for path in (search_path, _OWN_PATH))
    statement = f"SELECT set_config('search_path', {theirs}, false), ({query}), set_config('search_path', {own}, false)"
    [(_, value, _)] = connection.execute(statement.encode()).fetchall()
    return value


def _open(url: str, *, own: bool) -> Session:
    """A session in autocommit whose current role owns VERSION_SCHEMA."""
    connection = log_in(url, autocommit=True, own=own)
    try:
        with refusals(connection):
            _become_owner(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _raw(url: str, application: str, *, own: bool) -> Session:
    try:
        # SQLAlchemy names the driver in the scheme, PostgreSQL does not.
        plain = re.sub(r"^postgresql\+\w+://", "postgresql://", url)
        parameters = conninfo_to_dict(plain)
        with libpq.decided_by(parameters):
            given_options = str(parameters.get("options") or os.environ.get("PGOPTIONS") or "")
        try:
            limit = _milliseconds(patience().seconds)
            # Compiled, a query about thousands of tables would take many times as long.
            options = f"{given_options} {OWN_OPTIONS} -c jit=off -c lock_timeout={limit}".strip()
            return _dial(plain, application, options if own else given_options)
        except psycopg.OperationalError as error:
            # pgbouncer's words: it takes no option that it does not know. `log_in` then sets it.
            if not own or "unsupported startup parameter" not in str(error):
                raise
            return _dial(plain, application, given_options)
    except psycopg.OperationalError as error:
        raise _connection_error(error) from None
    except (psycopg.ProgrammingError, UnicodeError):
        # libpq quotes the URL, password and all, when it cannot parse it.
        raise DatabaseError(
            "the database URL is not one that PostgreSQL understands: postgresql://USER:…@HOST:PORT/DATABASE"
        ) from None


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _dial(url: str, application: str, options: str) -> Session:
    parameters = conninfo_to_dict(url)
    with libpq.decided_by(parameters):
        return Session.connect(
            url,
            **(libpq.authentication(parameters) if libpq.is_complete(parameters) else {}),
            connect_timeout=CONNECT_TIMEOUT,
            row_factory=tuple_row,
            application_name=application,
            # In a database of the encoding SQL_ASCII psycopg would return every text as bytes.
            client_encoding="utf8",
            keepalives_idle=KEEPALIVE,
            keepalives_interval=KEEPALIVE,
            keepalives_count=3,
            options=options or None,
        )


def _notice_loss(connection: Connection, session: int) -> str | None:
    """Let the server find out that its client is gone: also in the middle of a statement, from PostgreSQL 14 on.

    Returns the session's search_path. Nothing is set, and None returned, if the server's own number of the session is
    another one. The statement finds nothing but PostgreSQL's own objects, whatever the search_path is.
    """
    connection.autocommit = True
    # Not every server's system can do that; PostgreSQL refuses the value there.
    with suppress(psycopg.errors.InvalidParameterValue):
        lost = connection.execute(
            "SELECT pg_catalog.current_setting('search_path'), pg_catalog.set_config(name, value, false) "
            "FROM (VALUES ('client_connection_check_interval', '1s'), "
            "('tcp_keepalives_idle', %(s)s), ('tcp_keepalives_interval', %(s)s), "
            # The session that keeps other migrations out has nothing to say for hours.
            "('idle_session_timeout', '0')) AS wanted (name, value) "
            "WHERE pg_catalog.current_setting(name, true) IS NOT NULL "
            "AND pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %(session)s",
            {"s": str(KEEPALIVE), "session": session},
        )
        return next((str(path) for path, _ in lost), None)
    return None


# As in `_notice_loss`: a session for revisions has the login's search_path.
_OWNER = f"""
SELECT nspowner::pg_catalog.regrole::pg_catalog.text, pg_catalog.pg_has_role(nspowner, 'member'),
    CASE WHEN pg_catalog.pg_has_role(nspowner, 'member')
    THEN pg_catalog.set_config('role', pg_catalog.pg_get_userbyid(nspowner)::pg_catalog.text, false) END
FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) '{VERSION_SCHEMA}'
"""  # noqa: S608 - no value is put into it


def _become_owner(connection: Connection) -> None:
    row = connection.execute(_OWNER.encode()).fetchone()
    where = f"database {connection.info.dbname} as {connection.info.user}"
    if row is None:
        raise DatabaseError(
            f"{where}: the schema {VERSION_SCHEMA}, for the migration tables, does not exist: create it first"
        )
    owner, member, _ = row
    if not member and not _AS_ITSELF.get():
        raise DatabaseError(
            f"{where}: the schema {VERSION_SCHEMA} belongs to {owner}, which this role is not a member of. "
            f"As an admin: GRANT {owner} TO {connection.info.user}"
        )


def _require_schema(connection: Connection) -> None:
    if connection.execute("SELECT pg_catalog.current_schema()").fetchone() == (None,):
        where = f"database {connection.info.dbname} as {connection.info.user}"
        raise DatabaseError(
            f"{where}: no schema of the search_path exists: ALTER ROLE {connection.info.user} SET search_path = …"
        )


def _connection_error(error: psycopg.OperationalError) -> DatabaseError:
    text = " ".join(str(error).split())
    # A failed connection carries no SQLSTATE in libpq; these words are the server's, in its default language.
    if re.search(r'database ".*" does not exist', text):
        return NoDatabase(f"cannot connect: {text}")
    if re.search(r'authentication failed|no password supplied|role ".*" does not exist', text):
        return NoLogin(f"cannot connect: {text}")
    return DatabaseError(f"cannot connect: {text}")
