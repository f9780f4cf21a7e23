"""Connections to the server: one for each call and database. Errors have the real plugin's words."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg
from psycopg import sql

from pulumi_embedded.postgresql.configuration import Configuration
from pulumi_embedded.postgresql.errors import ConnectionLost, ProviderError
from pulumi_embedded.postgresql.waiting import DEADLINE, waiting

__all__ = ["Row", "Server", "Session", "Work", "identifier", "libpq_variables", "literal"]

Row = tuple[Any, ...]

# Names in the plugin's statements must not find objects of a less privileged role.
_OPTIONS = "-c search_path=pg_catalog,pg_temp"

identifier = sql.Identifier
literal = sql.Literal

_ABOUT_DATA = ("22", "23")

# The warning about REVOKE of a missing membership, which the plugin sends before each GRANT.
_UNREMARKABLE = "01000"

SETTLING = 15  # seconds in which a server that ended a connection must be back, without that connection's statement
KNOCK = 0.1  # seconds between two attempts

# libpq reports a failed connection as text only. These are the SQLSTATEs of the server's messages.
_CONNECT_STATES = (
    ("password authentication failed", "28P01"),
    ("too many connections|connection slots are reserved", "53300"),
    ("the database system is", "57P03"),
    ("is not currently accepting connections", "55000"),
    ("permission denied for database", "42501"),
    ("database .* does not exist", "3D000"),
    ("no pg_hba.conf entry|is not permitted to log in|role .* does not exist|authentication failed", "28000"),
)


# Variables of libpq without a connection parameter: files, and settings that libpq sends to the server.
_OTHERS = ("PGDATESTYLE", "PGGEQO", "PGREALM", "PGREQUIRESSL", "PGSERVICEFILE", "PGSYSCONFDIR", "PGTZ")


def libpq_variables() -> frozenset[str]:
    """Return the environment variables that affect how libpq connects or what it sets in a session."""
    options = psycopg.pq.Conninfo.get_defaults()
    return frozenset(option.envvar.decode() for option in options if option.envvar) | frozenset(_OTHERS)


def _pq(error: psycopg.Error) -> str:
    """Return the error in the words of lib/pq, the real plugin's driver, and add the server's DETAIL and HINT."""
    message = error.diag.message_primary
    if message is None:
        return f"pq: {' '.join(str(error).split())}"
    position = f" at column {error.diag.statement_position}" if error.diag.statement_position else ""
    return f"pq: {message}{position} ({error.sqlstate}){_more(error.diag)}"


def _more(diagnosis: psycopg.errors.Diagnostic) -> str:
    """Return a line each for DETAIL and HINT. Errors of data have none, because their details are values of rows."""
    if (diagnosis.sqlstate or "")[:2] in _ABOUT_DATA:
        return ""
    fields = (("DETAIL", diagnosis.message_detail), ("HINT", diagnosis.message_hint))
    return "".join(f"\n\t  {name}: {'; '.join(text.splitlines())}" for name, text in fields if text)


def _connect_error(error: psycopg.Error, host: str, port: int) -> str:
    text = str(error)
    if "does not support SSL" in text:
        return "pq: SSL is not enabled on the server"
    if fatal := re.search(r"FATAL:\s+(.*)", text):
        states = (state for pattern, state in _CONNECT_STATES if re.search(pattern, fatal[1]))
        state = next(states, None)
        return f"pq: {fatal[1]}" + (f" ({state})" if state else "")
    if "Connection refused" in text:
        return f"dial tcp {host}:{port}: connect: connection refused"
    if "could not translate host name" in text:
        return f"dial tcp: lookup {host}: no such host"
    if "timeout expired" in text:
        return f"dial tcp {host}:{port}: i/o timeout"
    return text.strip()


@contextmanager
def _explain(what: str = "", connection: psycopg.Connection | None = None) -> Iterator[None]:
    """Turn an error of the server into a ProviderError that names the failed action."""
    try:
        yield
    except psycopg.Error as error:
        kind = ConnectionLost if connection is not None and connection.closed else ProviderError
        raise kind(f"{what}: {_pq(error)}" if what else _pq(error)) from None


class Session:
    """The connections of one call. At its end, uncommitted transactions are rolled back.

    `mark` is written before a statement, to recognize the statement's effect if its answer is lost.
    """

    def __init__(self, server: Server, stack: ExitStack):
        self._server, self._stack = server, stack
        self._connections: dict[str, psycopg.Connection] = {}
        self._backends: set[int] = set()
        self.mark: int | None = None
        # Pairs of an SQLSTATE and a text.
        self.warnings: list[tuple[str, str]] = []
        # The real plugin connects to its own database first, whichever database the resource is in.
        self.configuration = server.configuration
        self.version = self.connection().info.server_version

    def connection(self, database: str = "") -> psycopg.Connection:
        """Return the connection to `database`, by default the provider's own. A lost connection is replaced."""
        database = database or self.configuration.database
        if database not in self._connections or self._connections[database].closed:
            self._connections[database] = self._stack.enter_context(self._server.connect(database))
            self._connections[database].add_notice_handler(self._hear)
            self._backends.add(self._connections[database].info.backend_pid)
        return self._connections[database]

    def beside(self) -> psycopg.Connection:
        """Return another connection to the provider's own database, which the caller closes."""
        return self._server.open(self.configuration.database)

    def _hear(self, notice: psycopg.errors.Diagnostic) -> None:
        """Record a warning of the server, which reports that a statement did not do its work."""
        if notice.severity_nonlocalized == "WARNING" and notice.sqlstate != _UNREMARKABLE:
            text = f"pq: {notice.message_primary} ({notice.sqlstate}){_more(notice)}"
            self.warnings.append((str(notice.sqlstate), text))

    def settle(self) -> None:
        """Connect again after a loss, once the server has ended the former connections and their statements.

        Raises:
            ProviderError: The server needs more than SETTLING seconds.

        """
        deadline = time.monotonic() + SETTLING
        former = list(self._backends)
        self.close()
        while True:
            try:
                query = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY(%s) AND pid <> pg_backend_pid()"
                if self.direct().rows(query, [former])[0][0] == 0:
                    return
            except ProviderError:
                if time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline:
                raise ProviderError("the server still works on what the lost connection asked for")
            time.sleep(KNOCK)

    def close(self) -> None:
        """Close every connection. The next statement opens a new one."""
        for connection in self._connections.values():
            connection.close()

    @contextmanager
    def transaction(self, database: str = "") -> Iterator[Work]:
        """Run the block in a transaction in `database`. Commit at its end, and roll back if it raises."""
        connection = self.connection(database)
        with _explain(connection=connection), connection.transaction():
            yield Work(self, database, connection)

    def direct(self, database: str = "") -> Work:
        """Return statements without a transaction, as CREATE DATABASE needs."""
        return Work(self, database)


class Work:
    """Runs statements in a transaction, or on the current connection to a database."""

    def __init__(self, session: Session, database: str, connection: psycopg.Connection | None = None):
        self.session, self._database, self._transaction = session, database, connection

    @property
    def _connection(self) -> psycopg.Connection:
        return self._transaction or self.session.connection(self._database)

    def run(self, statement: str, *parts: sql.Composable, what: str = "") -> None:
        """Execute a statement.

        Args:
            statement: The SQL text.
            parts: The parts in place of `{}`.
            what: The action, for errors.

        """
        with self._sends(what) as connection:
            connection.execute(sql.SQL(statement).format(*parts))

    def rows(self, query: str, parameters: Sequence[Any] = (), what: str = "") -> list[Row]:
        """Return the rows of a query.

        Args:
            query: The SQL text.
            parameters: The values in place of `%s`.
            what: The action, for errors.

        """
        with self._sends(what) as connection:
            return connection.execute(query, parameters).fetchall()

    @contextmanager
    def _sends(self, what: str) -> Iterator[psycopg.Connection]:
        connection = self._connection
        with _explain(what, connection), waiting(connection, self.session.beside) as wait:
            try:
                yield connection
            except psycopg.errors.LockNotAvailable as error:
                whom = wait.text or "a session that was not identified in time"
                reason = f"{_pq(error)}: waited {DEADLINE:.0f} s for {whom}"
                raise ProviderError(f"{what}: {reason}" if what else reason) from None

    def verifier(self, role: str, password: str) -> sql.Literal:
        """Return the password as the server stores it, so that no log of the server contains the password."""
        if re.fullmatch(r"md5[0-9a-f]{32}|SCRAM-SHA-256\$.+", password):
            return literal(password)
        connection = self._connection
        with _explain(connection=connection):
            return literal(connection.pgconn.encrypt_password(password.encode(), role.encode()).decode())

    def row(self, query: str, parameters: Sequence[Any] = (), what: str = "") -> Row | None:
        """Return the first row of a query. None if there is none."""
        return next(iter(self.rows(query, parameters, what)), None)


class Server:
    """The configured server. Many threads can use it."""

    def __init__(self, configuration: Configuration):
        self.configuration = configuration
        self._open: set[psycopg.Connection] = set()
        self._guard = threading.Lock()
        self._cancelled = False

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open the connections of one call, and close them at its end, so that none blocks the drop of a database."""
        with ExitStack() as stack, _explain():
            yield Session(self, stack)

    def cancel(self) -> None:
        """End running statements, and reject later calls. Transactions are rolled back."""
        with self._guard:
            self._cancelled = True
            running = list(self._open)
        for connection in running:
            with suppress(psycopg.Error):
                connection.cancel_safe(timeout=5)

    @contextmanager
    def connect(self, database: str) -> Iterator[psycopg.Connection]:
        """Open a connection for the block. Raises ProviderError, with the reason, if that fails."""
        connection = self.open(database)
        with self._guard:
            self._open.add(connection)
        try:
            self._refuse_when_cancelled()
            yield connection
        finally:
            with self._guard:
                self._open.discard(connection)
            connection.close()

    def _refuse_when_cancelled(self) -> None:
        if self._cancelled:
            raise ProviderError("the operation was cancelled")

    def open(self, database: str) -> psycopg.Connection:
        """Return a connection, which the caller closes. Raises as `connect` does."""
        self._refuse_when_cancelled()
        chosen = self.configuration
        host = chosen.host or "localhost"
        # No password is sent in clear text to a server whose certificate is not verified (libpq 16 and newer).
        verified = chosen.sslmode.startswith("verify")
        try:
            connection = psycopg.connect(
                autocommit=True,
                host=host,
                port=chosen.port,
                dbname=database,
                user=chosen.username,
                password=chosen.password,
                sslmode=chosen.sslmode,
                connect_timeout=max(chosen.connect_timeout, 0),
                gssencmode="disable",
                fallback_application_name="pulumi-postgresql",
                options=_OPTIONS,
                sslrootcert=chosen.sslrootcert or None,
                require_auth=None if verified or psycopg.pq.version() < 160000 else "!password",
            )
            connection.execute(f"SET lock_timeout = {round(DEADLINE * 1000)}".encode())
            return connection
        except psycopg.Error as error:
            reason = _connect_error(error, host, chosen.port)
            raise ProviderError(
                f"error connecting to PostgreSQL server {chosen.host} (scheme: postgres): {reason}"
            ) from None
