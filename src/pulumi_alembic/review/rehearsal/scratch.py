"""The scratch database: its name, its beginning and its end, also where whoever made it was killed."""

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
"""How the name of every scratch database begins; then come its target's name, a digest of that, and chance."""

_LONGEST = 63  # bytes of a name
_LIMITS = "SET synchronous_commit = off; SET lock_timeout = '2s'; SET statement_timeout = '5s'"
"""Not only locks are waited for: up to PostgreSQL 15 a DROP DATABASE waits for every COPY from a client that stalls.

And CREATE DATABASE for the disk.
"""

# In the background, so that it is not this process that it ends in; there, its standard input would be none.
_WATCHER = 'exec 3<&0; { read -r word; [ "$word" = done ] || "$0" -X -q -t -c "$1" -c "$2" -c "$3"; } <&3 3<&- &'

_LIKE_TARGET = sql.SQL("""
TEMPLATE template0 ENCODING {encoding} LC_COLLATE {datcollate} LC_CTYPE {datctype}
""")

_LOCALE = "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database WHERE datname = %s"

_MAINTENANCE = ("postgres", "template1")
"""Databases that every server has from its beginning, and that outlive the target; the first that the admin may enter.

Advisory locks are of one database: all rehearsals of a target meet there.
"""


Locale = tuple[str, str, str]
"""Of a database: its encoding, and its LC_COLLATE and LC_CTYPE."""


class Scratch:
    """A database that is gone at the end; `url` is the admin's."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.name = database_of(url)


def at(url: str, database: str) -> str:
    """The URL of another database of the same server, for the same login."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{quote(database, safe='')}"))


def database_of(url: str) -> str:
    """The database that a URL names."""
    return unquote(urlsplit(url).path[1:])


@contextmanager
def scratch(
    admin: str, target: str, client: Callable[[int], Programs | None], like: Locale | None = None
) -> Iterator[Scratch]:
    """A new, empty database of the admin's, like that of the URL `target`; nobody else may connect. Gone at the end.

    With `like` it has this locale, and there need be no target on the server, only its name.
    Before it is made, what killed rehearsals of the same target left is dropped: a living one holds an advisory lock
    of a maintenance database, which ends with its session. Where the `client` for the server's version has psql, a
    process waits for the end of the block, or of this process, and drops it then if it is still there. Neither needs
    the target, which may be dropped meanwhile. Raises NotRehearsed where it cannot be made.
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
                # What cannot be dropped now is left to the watcher, or else to the next rehearsal.
                with suppress(psycopg.Error):
                    _drop(admin_session, scratch_name)
                    done()


def log_in_beside(admin: str) -> Session:
    """A session of the admin's in a database that every server has. Raises NotRehearsed without one."""
    refusals = []
    for database in _MAINTENANCE:
        try:
            return log_in(at(admin, database), "alembic rehearsal", autocommit=True)
        except DatabaseError as error:
            refusals.append(str(error))
        except ValueError:
            # What urllib says of a URL can have its password in it.
            raise NotRehearsed("the URL of the login to rehearse with is none") from None
    raise NotRehearsed(refusals[0])


def read_locale(session: Session, database: str) -> Locale:
    """That of a database of the server. Raises NotRehearsed if there is none of this name."""
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
        # Sessions of a login that the admin is no member of: they end with their client, and are waited for.
        admin_session.execute(drop)


def _drop_leftovers(admin_session: Connection, target: str) -> None:
    query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
    for (name,) in admin_session.execute(query, [_prefix(target)]).fetchall():
        if admin_session.execute("SELECT pg_try_advisory_lock(%s)", [_key(name)]).fetchone() == (True,):
            try:
                # One that another preview has dropped meanwhile is gone all the same.
                with suppress(psycopg.Error):
                    _drop(admin_session, name)
            finally:
                admin_session.execute("SELECT pg_advisory_unlock(%s)", [_key(name)])


@contextmanager
def _watched(admin_session: str, name: str, psql: Path | None) -> Iterator[Callable[[], None]]:
    """A process that drops the database after the end of this one, or of the block, unless it was told `done`.

    It logs in as the URL `admin_session` says, where the keeper's lock is.
    """
    if psql is None:
        yield lambda: None
        return
    key, quoted = _key(name), sql.Identifier(name).as_string(None)
    # As soon as the lock of the keeper's session is free; the second drop waits for sessions that may not be ended.
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
    """How the names of this target's scratch databases begin; eight characters of chance are still to come."""
    digest = hashlib.sha256(target.encode()).hexdigest()[:8]
    room = _LONGEST - len(MARKER) - len("_") - len(digest) - len("_") - 8
    return f"{MARKER}{target.encode()[:room].decode(errors='ignore')}_{digest}_"


def _key(name: str) -> int:
    """The advisory lock that says that the rehearsal in this database lives."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _refusal(admin_session: Session, error: psycopg.Error) -> NotRehearsed:
    reason = server_message.summary(error)
    if (wait := admin_session.wait_ended) and wait.error is error:
        reason = f"{reason}: {wait}"
    elif isinstance(error, psycopg.errors.QueryCanceled):
        reason = f"{reason}: it waited for no lock, the server itself took longer than 5 s"
    return NotRehearsed(f"no scratch database: {reason}")
