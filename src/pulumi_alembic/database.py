"""Connections to the target database, always as the role that owns the migration tables, and what is read over them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import generators, sql
from psycopg.rows import tuple_row

from pulumi_alembic import server_message
from pulumi_alembic.endpoint import refuse_transaction_pooling
from pulumi_alembic.errors import DatabaseError

if TYPE_CHECKING:
    from pulumi_alembic.catalog import Catalog

__all__ = [
    "KEPT_SCHEMA",
    "VERSION_SCHEMA",
    "VERSION_TABLE",
    "Connection",
    "NoDatabase",
    "NoLogin",
    "add_heads",
    "as_itself",
    "await_server",
    "connect",
    "log_in",
    "open_session",
    "read_catalog",
    "read_heads",
    "refusals",
    "send",
]

VERSION_SCHEMA = "migrations"
"""The schema of the migration tables: their own, so that default privileges of the application's do not reach them."""

KEPT_SCHEMA = "kept"
"""The schema of what downgrades take away: the owner's, and nobody else's."""

VERSION_TABLE = "alembic_version"
# As Alembic 1.20 makes it.
_VERSION_TABLE = """
CREATE TABLE {} (version_num varchar(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))
"""
CONNECT_TIMEOUT = 15  # seconds
KNOCK = 0.25  # seconds between two tries to reach a server that went away
KEEPALIVE = 10  # seconds without a word after which each end asks whether the other is still there

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


class NoDatabase(DatabaseError):
    """The server answers, and has no database of that name."""


class NoLogin(DatabaseError):
    """The server answers, and refuses this role or password."""


def open_session(url: str) -> Connection:
    """A new session whose current role owns VERSION_SCHEMA; the caller closes it.

    The role is set explicitly, because a pooler may ignore the settings of a login. Raises DatabaseError, with the
    server's words and never the URL, where there is no such database, login, schema or right.
    """
    connection = log_in(url, autocommit=True)
    try:
        with refusals(connection):
            _become_owner(connection)
            connection.autocommit = False
    except BaseException:
        connection.close()
        raise
    return connection


def log_in(url: str, application: str = "alembic", *, autocommit: bool = False) -> Connection:
    """A new session as the login itself, which sees more of the sessions of the same login than the owner does.

    The server ends it soon after its client is gone. Raises DatabaseError as `open_session` does, and where a pooler
    gives each transaction another session; the caller closes it.
    """
    connection = _raw(url, application)
    try:
        with refusals(connection):
            if not _notice_loss(connection, connection.info.backend_pid):
                # Where the session has another number than it said at first, there is a pooler.
                _notice_loss(connection, refuse_transaction_pooling(connection, lambda: _raw(url, application)))
            connection.autocommit = autocommit
    except BaseException:
        connection.close()
        raise
    return connection


def await_server(url: str, seconds: float) -> None:
    """Return as soon as the server answers again; after so many seconds raise DatabaseError with what it says then."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return _raw(url, "alembic").close()
        except (NoDatabase, NoLogin):
            raise
        except DatabaseError:
            if time.monotonic() > deadline:
                raise
            time.sleep(KNOCK)


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """`open_session`, closed at the end of the block; what was not committed is rolled back."""
    with closing(open_session(url)) as connection, refusals(connection):
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
        reason = server_message.summary(error)
        raise DatabaseError(f"{where}: {reason} ({error.sqlstate or 'connection lost'})") from None


def send(connection: Connection, statements: bytes) -> psycopg.pq.abc.PGresult:
    """The last answer to what is sent in one message, without what a cursor does with it. Raises psycopg.Error."""
    connection.pgconn.send_query(statements)
    results: list[psycopg.pq.abc.PGresult] = connection.wait(generators.execute(connection.pgconn))
    last = results[-1]
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


def read_catalog(connection: Connection) -> Catalog:
    """What is in the database, as the session sees it. It waits for no lock."""
    from pulumi_alembic.catalog import QUERY, Catalog

    [(document,)] = connection.execute(QUERY.encode()).fetchall()
    return Catalog.of(document)


def _raw(url: str, application: str) -> Connection:
    try:
        return psycopg.connect(
            # SQLAlchemy names the driver in the scheme, PostgreSQL does not.
            re.sub(r"^postgresql\+\w+://", "postgresql://", url),
            connect_timeout=CONNECT_TIMEOUT,
            row_factory=tuple_row,
            application_name=application,
            # In a database of the encoding SQL_ASCII psycopg would return every text as bytes.
            client_encoding="utf8",
            keepalives_idle=KEEPALIVE,
            keepalives_interval=KEEPALIVE,
            keepalives_count=3,
        )
    except psycopg.OperationalError as error:
        raise _connection_error(error) from None
    except (psycopg.ProgrammingError, UnicodeError):
        # libpq quotes the URL, password and all, when it cannot parse it.
        raise DatabaseError(
            "the database URL is not one that PostgreSQL understands: postgresql://USER:…@HOST:PORT/DATABASE"
        ) from None


def _notice_loss(connection: Connection, session: int) -> bool:
    """Let the server find out that its client is gone: also in the middle of a statement, from PostgreSQL 14 on.

    Nothing is set, and False returned, where the server's own number of the session is another one.
    """
    connection.autocommit = True
    # Not every server's system can do that; PostgreSQL refuses the value there.
    with suppress(psycopg.errors.InvalidParameterValue):
        found = connection.execute(
            "SELECT set_config(name, value, false) FROM (VALUES ('client_connection_check_interval', '1s'), "
            "('tcp_keepalives_idle', %(s)s), ('tcp_keepalives_interval', %(s)s), "
            # The session that keeps other migrations out has nothing to say for hours.
            "('idle_session_timeout', '0')) AS wanted (name, value) "
            "WHERE current_setting(name, true) IS NOT NULL AND pg_backend_pid() = %(session)s",
            {"s": str(KEEPALIVE), "session": session},
        )
        return found.rowcount > 0
    return False


# The owner's name is not known before the first is read, and its schemas not before it is the role.
_OWNER = f"""
SELECT nspowner::regrole::text, pg_has_role(nspowner, 'member'),
    CASE WHEN pg_has_role(nspowner, 'member') THEN set_config('role', pg_get_userbyid(nspowner), false) END
FROM pg_namespace WHERE nspname = '{VERSION_SCHEMA}';
SELECT current_schema()
"""  # noqa: S608 - no value is put into it


def _become_owner(connection: Connection) -> None:
    with closing(connection.execute(_OWNER.encode())) as cursor:
        found = cursor.fetchone()
        cursor.nextset()
        schema = cursor.fetchone()
    where = f"database {connection.info.dbname} as {connection.info.user}"
    if found is None:
        raise DatabaseError(
            f"{where}: there is no schema {VERSION_SCHEMA}, where the migration tables belong: create it first"
        )
    owner, member, _ = found
    if not member and not _AS_ITSELF.get():
        raise DatabaseError(
            f"{where}: the schema {VERSION_SCHEMA} belongs to {owner}, which this role may not become. "
            f"As an admin: GRANT {owner} TO {connection.info.user}"
        )
    if schema == (None,):
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
