"""PostgreSQL's own programs: find those for a server's version, and pass them a database without arguments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pulumi_alembic.errors import BackupError, DatabaseError

__all__ = ["PLACES", "Programs", "environment", "find", "find_client"]

PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)
"""Where Debian, PostgreSQL's own RPMs, Homebrew (Apple silicon, Intel) and Postgres.app install several versions."""


@dataclass(frozen=True)
class Programs:
    """Programs of one version, in one directory."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The major version, 15 of `15.18`."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> Path:
        """Return the path of a program."""
        return self.folder / name

    @property
    def psql(self) -> Path | None:
        """The path of psql. None if it is not installed there."""
        path = self.program("psql")
        return path if os.access(path, os.X_OK) else None


@cache
def find_client(oldest: int) -> Programs | None:
    """Return the programs of the lowest major version from `oldest` on, whose pg_dump can read such a server.

    A directory's name is trusted for the version, because running the program would take longer. None if there are
    none.
    """
    installed = [programs for folder in _folders() if (programs := _dumper(folder))]
    return min(
        (client for client in installed if client.major >= oldest), key=lambda client: client.major, default=None
    )


def find(major: int, folders: Iterable[Path] | None = None) -> Programs:
    """Return the programs of the version `major`, or of the next newer one. An older pg_dump rejects the server.

    The newest is avoided, because its dumps can use syntax that an older server does not know.

    Args:
        major: the server's major version.
        folders: where to look. By default the PATH, and where systems install several versions.

    Raises:
        BackupError: there are none.

    """
    installed = [programs for folder in (_folders() if folders is None else folders) if (programs := _clients(folder))]
    fitting = sorted((client for client in installed if client.major >= major), key=lambda client: client.major)
    if not fitting:
        older = ", ".join(f"{client.version} in {client.folder}" for client in installed)
        raise BackupError(
            f"the server is PostgreSQL {major}, and there is no pg_dump and pg_restore of this or a newer version "
            f"({f'found: {older}' if older else 'none was found'}). Install them, and have them on the PATH; "
            f"on Debian: apt-get install postgresql-client-{major}"
        )
    return fitting[0]


def environment(url: str, **settings: str) -> dict[str, str]:
    """Return the environment with which a program of PostgreSQL connects to `url`.

    Arguments would be visible to everyone.

    `settings` are further variables. Raises DatabaseError if the URL is invalid.
    """
    # Finding the programs does not need the driver.
    import psycopg
    from psycopg import pq

    from pulumi_alembic.database import libpq
    from pulumi_alembic.database.connection import OWN_OPTIONS

    plain = re.sub(r"^postgresql\+\w+://", "postgresql://", url)
    try:
        options = pq.Conninfo.parse(plain.encode())
    except (psycopg.Error, UnicodeError):
        # libpq quotes the URL, password and all.
        raise DatabaseError(
            "the database URL is not one that PostgreSQL understands: postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    variables = {
        option.envvar.decode(): option.val.decode()
        for option in options
        if option.val is not None and option.envvar is not None
    }
    values = {option.keyword.decode(): option.val for option in options if option.val is not None}
    ignored = libpq.variables() if libpq.is_complete(values) else {"PGSERVICE"}
    inherited = {name: value for name, value in os.environ.items() if name not in ignored}
    own = f"{(inherited | variables).get('PGOPTIONS', '')} {OWN_OPTIONS}".strip()
    return {"PGCONNECT_TIMEOUT": "15"} | inherited | variables | settings | {"PGOPTIONS": own}


def _folders() -> Iterator[Path]:
    for pattern in PLACES:
        yield from sorted(Path("/").glob(pattern[1:]), reverse=True)
    yield from map(Path, filter(None, os.environ.get("PATH", "").split(os.pathsep)))


def _dumper(folder: Path) -> Programs | None:
    if not os.access(folder / "pg_dump", os.X_OK):
        return None
    named = re.search(r"(?:postgresql[/@]|pgsql-)(\d+)(?:/bin)?$", str(folder))
    version = named[1] if named else _version(str(folder / "pg_dump"))
    return Programs(folder, version) if version else None


def _clients(folder: Path) -> Programs | None:
    programs = [shutil.which(name, path=str(folder)) for name in ("pg_dump", "pg_restore")]
    versions = {_version(program) for program in programs if program}
    if None in programs or None in versions or len(versions) != 1:
        return None
    return Programs(folder, str(versions.pop()))


def _version(program: str) -> str | None:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)*)", done.stdout)
    return match[1] if match and done.returncode == 0 else None
