"""Connections to the target database, usually as the role that owns the migration tables, and reads over them."""

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
from pulumi_alembic.database.tenant import SETTING, VERSION_TABLE, schema_of, version_table
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
    "NoSchema",
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
"""The schema of the migration tables.

It is separate, so that default privileges of the application do not reach them.
"""

KEPT_SCHEMA = "kept"
"""The schema of preserved rows. Only the owner has privileges on it."""

OWN_OPTIONS = "-c search_path=pg_catalog,pg_temp"
"""The libpq option of each session of this library: names in its SQL find no objects that other roles created.

As an option it is in effect from the beginning, whatever the settings of the login and the database are.
"""

_OWN_PATH = "pg_catalog, pg_temp"

# The same as Alembic 1.20 creates.
_VERSION_TABLE = """
CREATE TABLE {} (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
"""
CONNECT_TIMEOUT = 15  # seconds
KNOCK = 0.25  # seconds between two tries to reach a server that does not answer
KEEPALIVE = 10  # seconds of silence after which each end checks whether the other still exists


@dataclass(frozen=True)
class Aborted:
    """The error that aborted a transaction.

    Attributes:
        statement: what was sent.
        lines: file and line of the stack frames that sent it, the innermost first.

    """

    error: psycopg.Error
    statement: str
    lines: tuple[tuple[str, int], ...]

    def line_of(self, file: str) -> int | None:
        """Return the line of this file that sent the statement. None if the file is not among the frames."""
        return next((line for name, line in self.lines if name == file), None)


Connection = psycopg.Connection[tuple[Any, ...]]


_AS_ITSELF: ContextVar[bool] = ContextVar("as_itself", default=False)


@contextmanager
def as_itself() -> Iterator[None]:
    """Let a login that cannot become the owner keep its own role in sessions within the block, to read only."""
    token = _AS_ITSELF.set(True)
    try:
        yield
    finally:
        _AS_ITSELF.reset(token)


class Session(psycopg.Connection[tuple[Any, ...]]):
    """A connection that remembers the error that aborted its transaction.

    A program that catches that error and continues sees only later errors, which do not show the cause.

    Attributes:
        aborted: None again after ROLLBACK TO SAVEPOINT, or when another transaction begins.
        patience: if set, a statement that waits for another session reports for which one.
        wait_ended: the last wait that a limit of the session ended.

    """

    aborted: Aborted | None = None
    patience: Patience | None = None
    wait_ended: Wait | None = None

    def wait(self, gen: Any, *args: Any, **kw: Any) -> Any:
        """Wait as psycopg's method does. Everything sent over the connection passes through it."""
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
"""Names of the argument with the statement, in methods of psycopg's cursors and in `send`."""
_NEAR = 3
"""The most frames from `wait` to one of these methods. A rehearsal's session has one frame more."""


def _text(sent: Any) -> str:
    if isinstance(sent, bytes):
        return sent.decode(errors="replace")
    return sent.as_string() if isinstance(sent, sql.Composable) else str(sent)


class NoDatabase(DatabaseError):
    """The server answers, and has no database of that name."""


class NoSchema(DatabaseError):
    """The database has no schema of the tenant's name."""


class NoLogin(DatabaseError):
    """The server answers, and rejects this role or password."""


def open_session(url: str) -> Session:
    """Open a session for revisions, whose current role owns VERSION_SCHEMA. The caller closes it.

    Its search_path is that of the login, for which revisions are written. Use `connect` for any other work. The role is
    set explicitly, because a pooler can ignore settings of a login.

    Raises:
        DatabaseError: the database, login, schema or privilege is missing, or no schema of the search_path exists. The
            message has the server's words and never the URL.

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
    """Open a session as the login itself, which can see more of the login's sessions than the owner can.

    The server ends it soon after its client is gone, on PostgreSQL 13 at the end of its statement. The caller
    closes it.

    Args:
        url: the database.
        application: the application_name.
        autocommit: the session's mode.
        own: use the search_path of OWN_OPTIONS, and wait for locks as in `sessions.waits`. False keeps the login's
            settings, for statements of others.

    Raises:
        DatabaseError: as for `connect`, or a pooler gives each transaction another session.

    """
    connection = _raw(url, application, own=own)
    try:
        with refusals(connection):
            path = _notice_loss(connection, connection.info.backend_pid)
            if path is None:
                # There is a pooler if the server's process id differs from the one at connecting.
                another = refuse_transaction_pooling(connection, lambda: _raw(url, application, own=own))
                path = _notice_loss(connection, another)
            if own and (path or "").replace(" ", "") != _OWN_PATH.replace(" ", ""):
                # A pooler has dropped the options. A server does not.
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
    """Return the search_path of a new session of this login, as PostgreSQL prints it. Raises as `connect` does."""
    with closing(_raw(url, "alembic", own=False)) as connection, refusals(connection):
        [(path,)] = connection.execute("SHOW search_path").fetchall()
        return str(path)


def await_server(url: str, seconds: float) -> None:
    """Return as soon as the server answers again. Raise DatabaseError with the last reason after so many seconds."""
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
    """Open a session as the role that owns VERSION_SCHEMA, with the search_path of OWN_OPTIONS.

    The block's end closes it, and rolls back what is not committed. Raises DatabaseError as `open_session` does.
    """
    with closing(_open(url, own=True)) as connection, refusals(connection):
        connection.autocommit = False
        yield connection


@contextmanager
def refusals(connection: Connection) -> Iterator[None]:
    """Convert a server's error within the block to a DatabaseError that names the database and the user."""
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
    """Make the session return rows as tuples within the block, whatever row factory a script has set."""
    factory, session.row_factory = session.row_factory, tuple_row
    try:
        yield
    finally:
        session.row_factory = factory


def send(connection: Connection, statements: bytes) -> psycopg.pq.abc.PGresult:
    """Send statements in one message, and return the last result without using a cursor. Raises psycopg.Error."""
    connection.pgconn.send_query(statements)
    answer: psycopg.pq.abc.PGresult = connection.wait(_last_answer(connection.pgconn))
    return answer


def _last_answer(pgconn: psycopg.pq.abc.PGconn) -> Generator[Any, Any, psycopg.pq.abc.PGresult]:
    last: psycopg.pq.abc.PGresult = (yield from generators.execute(pgconn))[-1]
    if last.status not in (psycopg.pq.ExecStatus.COMMAND_OK, psycopg.pq.ExecStatus.TUPLES_OK):
        error = psycopg.errors.error_from_result(last)
        # An error without an SQLSTATE is not from the server: the connection is lost, as in psycopg's own statements.
        raise error if error.sqlstate else psycopg.OperationalError(str(error))
    return last


def read_heads(connection: Connection) -> tuple[str, ...]:
    """Return the revisions of the database or tenant from Alembic's table, sorted. Empty if nothing was applied."""
    table = sql.Identifier(VERSION_SCHEMA, version_table(schema_of(connection)))
    if connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)]).fetchone() == (None,):
        return ()
    rows = connection.execute(sql.SQL("SELECT version_num FROM {} ORDER BY 1").format(table))
    return tuple(row[0] for row in rows)


def add_heads(connection: Connection, heads: Iterable[str]) -> None:
    """Add these revisions to Alembic's table, which is created if it does not exist."""
    table = sql.Identifier(VERSION_SCHEMA, version_table(schema_of(connection)))
    if connection.execute("SELECT to_regclass(%s)", [table.as_string(connection)]).fetchone() == (None,):
        connection.execute(sql.SQL(_VERSION_TABLE).format(table))
    for head in heads:
        connection.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(table), [head])


def read_catalog(connection: Connection, search_path: str = "") -> Catalog:
    """Return the catalog of the database, as the session sees it. It waits for no lock.

    `search_path` replaces the session's own for finding names.
    """
    from pulumi_alembic.sql.catalog import Catalog

    return Catalog.of(read_catalog_document(connection, search_path))


def read_catalog_document(connection: Connection, search_path: str = "") -> Any:
    """Return the JSON values that `Catalog.of` takes, read as `read_catalog` does."""
    from pulumi_alembic.sql.catalog import QUERY
    from pulumi_alembic.sql.garbage import uncollected

    with uncollected():
        if search_path:
            return _seen_with(connection, search_path, QUERY)
        [(document,)] = connection.execute(QUERY.encode()).fetchall()
        return document


def find_relation(connection: Connection, name: str, search_path: str) -> str | None:
    """Return the full name of what `name` finds with this search_path. None if it finds nothing."""
    relation = sql.SQL("SELECT to_regclass({})::oid::bigint").format(sql.Literal(name)).as_string(None)
    oid = _seen_with(connection, search_path, relation)
    [(full,)] = connection.execute("SELECT %s::oid::regclass::text", [oid]).fetchall()
    return None if full is None else str(full)


def _seen_with(connection: Connection, search_path: str, query: str) -> Any:
    """Return the value of a query whose functions see another search_path than this session's.

    The query's own names are resolved before that. PostgreSQL evaluates the values of a row from left to right, and a
    subquery when it reaches it.
    """
    theirs, own = (sql.Literal(path).as_string(None) for path in (search_path, _OWN_PATH))
    statement = f"SELECT set_config('search_path', {theirs}, false), ({query}), set_config('search_path', {own}, false)"
    [(_, value, _)] = connection.execute(statement.encode()).fetchall()
    return value


def _open(url: str, *, own: bool) -> Session:
    """Open a session in autocommit mode whose current role owns VERSION_SCHEMA."""
    connection = log_in(url, autocommit=True, own=own)
    try:
        with refusals(connection):
            _become_owner(connection)
            if schema_of(connection):
                _require_tenant(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _raw(url: str, application: str, *, own: bool) -> Session:
    try:
        # SQLAlchemy's scheme names the driver, which libpq does not accept.
        plain = re.sub(r"^postgresql\+\w+://", "postgresql://", url)
        parameters = conninfo_to_dict(plain)
        with libpq.decided_by(parameters):
            given_options = str(parameters.get("options") or os.environ.get("PGOPTIONS") or "")
        try:
            limit = _milliseconds(patience().seconds)
            # With JIT, a query about thousands of tables would take many times as long.
            options = f"{given_options} {OWN_OPTIONS} -c jit=off -c lock_timeout={limit}".strip()
            return _dial(plain, application, options if own else given_options)
        except psycopg.OperationalError as error:
            # pgbouncer rejects options that it does not know. `log_in` then sets them.
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
    """Let the server notice that its client is gone, even during a statement from PostgreSQL 14 on.

    Returns:
        The session's search_path. None if the server's process id of the session is not `session`. Then nothing is set.

    """
    connection.autocommit = True
    # Not every operating system supports that. PostgreSQL rejects the value there.
    with suppress(psycopg.errors.InvalidParameterValue):
        lost = connection.execute(
            "SELECT pg_catalog.current_setting('search_path'), pg_catalog.set_config(name, value, false) "
            "FROM (VALUES ('client_connection_check_interval', '1s'), "
            "('tcp_keepalives_idle', %(s)s), ('tcp_keepalives_interval', %(s)s), "
            # The session with the migration lock can be idle for hours.
            "('idle_session_timeout', '0')) AS wanted (name, value) "
            "WHERE pg_catalog.current_setting(name, true) IS NOT NULL "
            "AND pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %(session)s",
            {"s": str(KEEPALIVE), "session": session},
        )
        return next((str(path) for path, _ in lost), None)
    return None


# Names are qualified as in `_notice_loss`, because a session for revisions has the login's search_path.
_OWNER = f"""
SELECT nspowner::pg_catalog.regrole::pg_catalog.text, pg_catalog.pg_has_role(nspowner, 'member'),
    CASE WHEN pg_catalog.pg_has_role(nspowner, 'member')
    THEN pg_catalog.set_config('role', pg_catalog.pg_get_userbyid(nspowner)::pg_catalog.text, false) END,
    pg_catalog.current_setting('{SETTING}', true)
FROM pg_catalog.pg_namespace WHERE nspname OPERATOR(pg_catalog.=) '{VERSION_SCHEMA}'
"""  # noqa: S608 - no value is put into it


def _become_owner(connection: Connection) -> None:
    row = connection.execute(_OWNER.encode()).fetchone()
    where = f"database {connection.info.dbname} as {connection.info.user}"
    if row is None:
        from pulumi_alembic.sql.catalog import quoted

        raise DatabaseError(
            f"{where}: the schema {VERSION_SCHEMA}, for the migration tables, does not exist. "
            f"As an admin: CREATE SCHEMA {VERSION_SCHEMA} AUTHORIZATION {quoted(connection.info.user)}"
        )
    owner, member, _, tenant = row
    if not member and not _AS_ITSELF.get():
        raise DatabaseError(
            f"{where}: the schema {VERSION_SCHEMA} belongs to {owner}, which this role is not a member of. "
            f"As an admin: GRANT {owner} TO {connection.info.user}"
        )
    if (tenant or "") != schema_of(connection):
        raise DatabaseError(
            f"{where}: a pooler drops the options of a session, with which a tenant's schema is chosen. Connect to the "
            "server itself"
        )


_TENANT = """
SELECT pg_catalog.to_regnamespace(pg_catalog.quote_ident(name)) IS NOT NULL,
    coalesce(pg_catalog.has_schema_privilege(oid, 'USAGE, CREATE'), false), pg_catalog.quote_ident(current_user)
FROM (SELECT %s::pg_catalog.text) AS wanted (name) LEFT JOIN pg_catalog.pg_namespace
    ON nspname OPERATOR(pg_catalog.=) name
"""


def _require_tenant(connection: Connection) -> None:
    """Check that the session's tenant has a schema in which its role can create objects.

    Raises:
        NoSchema: the schema does not exist.
        DatabaseError: the role is not allowed to use it.

    """
    schema = schema_of(connection)
    [(exists, allowed, role)] = connection.execute(_TENANT, [schema]).fetchall()
    where, named = (
        f"database {connection.info.dbname} as {connection.info.user}",
        sql.Identifier(schema).as_string(None),
    )
    if not exists:
        raise NoSchema(f"{where}: there is no schema {named}. As an admin: CREATE SCHEMA {named} AUTHORIZATION {role}")
    if not allowed:
        advice = f"As its owner: GRANT USAGE, CREATE ON SCHEMA {named} TO {role}"
        raise DatabaseError(f"{where}: {role} cannot use the schema {named}. {advice}")


def _require_schema(connection: Connection) -> None:
    if connection.execute("SELECT pg_catalog.current_schema()").fetchone() == (None,):
        where = f"database {connection.info.dbname} as {connection.info.user}"
        raise DatabaseError(
            f"{where}: no schema of the search_path exists: ALTER ROLE {connection.info.user} SET search_path = …"
        )


def _connection_error(error: psycopg.OperationalError) -> DatabaseError:
    text = " ".join(str(error).split())
    # libpq gives no SQLSTATE for a failed connection. These are the server's words in its default language.
    if re.search(r'database ".*" does not exist', text):
        return NoDatabase(f"cannot connect: {text}")
    if re.search(r'authentication failed|no password supplied|role ".*" does not exist', text):
        return NoLogin(f"cannot connect: {text}")
    return DatabaseError(f"cannot connect: {text}")
