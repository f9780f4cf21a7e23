"""The scratch database: its name, its creation, and its removal even if the process that created it is killed."""

from __future__ import annotations

import hashlib
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import Connection, Session, log_in
from pulumi_alembic.database.pg_programs import Programs, environment
from pulumi_alembic.errors import DatabaseError, NotRehearsed

__all__ = ["MARKER", "Locale", "Scratch", "at", "database_of", "log_in_beside", "read_locale", "scratch"]

MARKER = "rehearsal_"
"""The prefix of every scratch database's name. The target's name, a digest of it and random characters follow."""

_LONGEST = 63  # bytes of a name
_LIMITS = "SET synchronous_commit = off; SET lock_timeout = '2s'; SET statement_timeout = '5s'"
"""Settings of the admin's session. A statement can wait for more than locks.

Up to PostgreSQL 15, DROP DATABASE waits for every stalled COPY from a client. CREATE DATABASE waits for the disk.
"""

# A background process does not end with this one. Its standard input is redirected, as the shell would close it.
_WATCHER = 'exec 3<&0; { read -r word; [ "$word" = done ] || "$0" -X -q -t -c "$1" -c "$2" -c "$3"; } <&3 3<&- &'

_LIKE_TARGET = sql.SQL("""
TEMPLATE template0 ENCODING {encoding} LC_COLLATE {datcollate} LC_CTYPE {datctype}
""")

_LOCALE = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = %s"

_MAINTENANCE = ("postgres", "template1")
"""Databases that every server has and that outlive the target. The admin uses the first one that it can enter.

An advisory lock belongs to one database. All rehearsals of a target lock in the same one.
"""


Locale = tuple[str, str, str]
"""The encoding, LC_COLLATE and LC_CTYPE of a database."""


class Scratch:
    """A scratch database. `url` is the admin's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = database_of(url)


def at(url: str, database: str) -> str:
    """Return the URL of another database of the same server, for the same login."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(database, safe='')}"))


def database_of(url: str) -> str:
    """Return the name of the database in a URL."""
    return unquote(urlsplit(url).path[1:])


@contextmanager
def scratch(
    admin: str, target: str, client: Callable[[int], Programs | None], like: Locale | None = None
) -> Iterator[Scratch]:
    """Create an empty database that only its owner can enter, and drop it at the end of the block.

    First, databases that killed rehearsals of the same target left are dropped. A running rehearsal holds an advisory
    lock in a maintenance database, so its database is not dropped. With psql, a separate process waits for the end of
    the block or of this process, and drops the database if it still exists. Neither needs the target to exist.

    Args:
        admin: The URL of a login that can create databases.
        target: The URL of the target, whose name and locale the database follows.
        client: Returns PostgreSQL's programs for a major version. None if there are none.
        like: The locale. If it is given, the target does not need to be on this server.

    Raises:
        NotRehearsed: The database cannot be created.

    """
    name = database_of(target)
    with closing(log_in_beside(admin)) as admin_session:
        programs = client(admin_session.info.server_version // 10000)
        psql = programs.psql if programs else None
        try:
            admin_session.execute(_LIMITS.encode())
            _drop_leftovers(admin_session, name)
            scratch_name = _prefix(name) + secrets.token_hex(4)
            admin_session.execute("SELECT pg_advisory_lock(%s)", [_key(scratch_name)])
        except psycopg.Error as error:
            raise _refusal(admin_session, error) from None
        with _watched(at(admin, admin_session.info.dbname), scratch_name, psql) as done:
            try:
                _create(admin_session, scratch_name, like or read_locale(admin_session, name))
                yield Scratch(at(admin, scratch_name))
            finally:
                # If the drop fails now, the watcher drops the database, or the next rehearsal does.
                with suppress(psycopg.Error):
                    _drop(admin_session, scratch_name)
                    done()


def log_in_beside(admin: str) -> Session:
    """Return an admin session in a maintenance database. Raises NotRehearsed if the login fails."""
    refusals = []
    for database in _MAINTENANCE:
        try:
            return log_in(at(admin, database), "alembic rehearsal", autocommit=True)
        except DatabaseError as error:
            refusals.append(str(error))
        except ValueError:
            # The message of urllib can contain the password of the URL.
            raise NotRehearsed("the URL of the login to rehearse with is none") from None
    raise NotRehearsed(refusals[0])


def read_locale(session: Session, database: str) -> Locale:
    """Return the locale of a database. Raises NotRehearsed if it does not exist."""
    try:
        row = session.execute(_LOCALE, [database]).fetchone()
    except psycopg.Error as error:
        raise _refusal(session, error) from None
    if row is None:
        raise NotRehearsed(f"there is no database {database}")
    encoding, collate, ctype = row
    return encoding, collate, ctype


def _create(admin_session: Session, name: str, locale: Locale) -> None:
    encoding, collate, ctype = locale
    try:
        like = _LIKE_TARGET.format(encoding=encoding, datcollate=collate, datctype=ctype)
        admin_session.execute(sql.SQL("CREATE DATABASE {} ").format(sql.Identifier(name)) + like)
        admin_session.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name)))
    except psycopg.Error as error:
        raise _refusal(admin_session, error) from None


def _drop(admin_session: Connection, name: str) -> None:
    drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    try:
        admin_session.execute(drop + sql.SQL(" WITH (FORCE)"))
    except psycopg.errors.InsufficientPrivilege:
        # The admin cannot end sessions of a login that it is no member of. They end with their clients: wait for them.
        admin_session.execute(drop)


def _drop_leftovers(admin_session: Connection, target: str) -> None:
    query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
    for (name,) in admin_session.execute(query, [_prefix(target)]).fetchall():
        if admin_session.execute("SELECT pg_try_advisory_lock(%s)", [_key(name)]).fetchone() == (True,):
            try:
                # Another preview can have dropped it meanwhile.
                with suppress(psycopg.Error):
                    _drop(admin_session, name)
            finally:
                admin_session.execute("SELECT pg_advisory_unlock(%s)", [_key(name)])


@contextmanager
def _watched(admin_session: str, name: str, psql: Path | None) -> Iterator[Callable[[], None]]:
    """Start a process that drops the database when this process or the block ends, unless the block calls `done`.

    It logs in with the URL `admin_session`, to the database of the advisory lock.
    """
    if psql is None:
        yield lambda: None
        return
    key, quoted = _key(name), sql.Identifier(name).as_string(None)
    # Wait until the admin's session frees the lock. The second drop waits for sessions that the admin cannot end.
    steps = (
        f"SELECT pg_advisory_lock({key})",
        f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)",
        f"DROP DATABASE IF EXISTS {quoted}",
    )
    with subprocess.Popen(
        ["/bin/sh", "-c", _WATCHER, str(psql), *steps],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(admin_session, PGCLIENTENCODING="UTF8"),
        start_new_session=True,
        bufsize=0,
    ) as watcher:
        yield lambda: _tell(watcher)


def _tell(watcher: subprocess.Popen[bytes]) -> None:
    assert watcher.stdin is not None  # noqa: S101 - it is a pipe
    with suppress(OSError):
        watcher.stdin.write(b"done\n")


def _prefix(target: str) -> str:
    """Return the prefix of the names of this target's scratch databases. Eight random characters follow."""
    digest = hashlib.sha256(target.encode()).hexdigest()[:8]
    room = _LONGEST - len(MARKER) - len("_") - len(digest) - len("_") - 8
    return f"{MARKER}{target.encode()[:room].decode(errors='ignore')}_{digest}_"


def _key(name: str) -> int:
    """Return the key of the advisory lock that a running rehearsal holds for this database."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _refusal(admin_session: Session, error: psycopg.Error) -> NotRehearsed:
    reason = server_message.summary(error)
    if (wait := admin_session.wait_ended) and wait.error is error:
        reason = f"{reason}: {wait}"
    elif isinstance(error, psycopg.errors.QueryCanceled):
        reason = f"{reason}: it waited for no lock, the server itself took longer than 5 s"
    return NotRehearsed(f"no scratch database: {reason}")
