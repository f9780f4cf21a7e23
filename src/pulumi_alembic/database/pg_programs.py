"""PostgreSQL's own programs for a server's version: where they are, and how they are told of a database."""

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
"""Where Debian, PostgreSQL's own RPMs, Homebrew (Apple silicon, Intel) and Postgres.app keep several versions."""


@dataclass(frozen=True)
class Programs:
    """Programs of one version, from one folder."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """15 of `15.18`."""
        return int(self.version.partition(".")[0])

    def program(self, name: str) -> Path:
        """The path of one of them."""
        return self.folder / name

    @property
    def psql(self) -> Path | None:
        """Its path; None if only others are there."""
        path = self.program("psql")
        return path if os.access(path, os.X_OK) else None


@cache
def find_client(oldest: int) -> Programs | None:
    """Those whose pg_dump can read a server of the major version `oldest`, the nearest in version; None without one.

    What a folder's name says of the version is believed: to ask would take a preview longer than to look.
    """
    installed = [programs for folder in _folders() if (programs := _dumper(folder))]
    return min(
        (client for client in installed if client.major >= oldest), key=lambda client: client.major, default=None
    )


def find(major: int, folders: Iterable[Path] | None = None) -> Programs:
    """Those of the version `major`, else of the next newer one: an older pg_dump refuses the server.

    Not of the newest: what one writes has words that an older server does not know. They are looked for on the PATH,
    and where systems keep several versions. Raises BackupError if there are none.
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
    """The environment in which a program of PostgreSQL's connects to `url`: everybody can read its arguments.

    `settings` are further variables.
    """
    # Whoever only looks for the programs needs no driver.
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
