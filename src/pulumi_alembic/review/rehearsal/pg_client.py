"""PostgreSQL's own client programs on this machine, and how they log in without a password in their arguments."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psycopg

from pulumi_alembic.database.connection import OWN_OPTIONS

__all__ = ["Client", "environment", "find_client"]

# Where Debian, PostgreSQL's own RPMs and Homebrew (Apple silicon, Intel) put them, each version in a folder of its own.
_PLACES = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_VARIABLES = {
    option.keyword.decode(): option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar
}
"""What libpq reads each part of a URL from, by its own account."""


@dataclass(frozen=True)
class Client:
    """The programs of one version; `psql` is None where only pg_dump is there."""

    pg_dump: Path
    psql: Path | None
    major: int


@cache
def find_client(oldest: int) -> Client | None:
    """One whose pg_dump can read a server of the major version `oldest`, the nearest in version; None without one."""
    fitting = [client for folder in _folders() if (client := _inspect(folder)) and client.major >= oldest]
    return min(fitting, key=lambda client: client.major, default=None)


def environment(url: str) -> dict[str, str]:
    """The environment for a client that logs in as the URL says: there the password is nobody's to see but the user's.

    Settings of this process for other servers are not passed on.
    """
    given = psycopg.conninfo.conninfo_to_dict(re.sub(r"^postgresql\+\w+://", "postgresql://", url))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    known = {variable: str(given[name]) for name, variable in _VARIABLES.items() if given.get(name) is not None}
    own = f"{known.get('PGOPTIONS', '')} {OWN_OPTIONS}".strip()
    return kept | {"PGCONNECT_TIMEOUT": "15"} | known | {"PGCLIENTENCODING": "UTF8", "PGOPTIONS": own}


def _folders() -> Iterator[Path]:
    # Debian's pg_dump on the PATH is a script that looks for the real one, which takes longer than a dump.
    for place in _PLACES:
        yield from Path("/").glob(place.lstrip("/"))
    if found := shutil.which("pg_dump"):
        yield Path(found).parent


def _inspect(folder: Path) -> Client | None:
    pg_dump, psql = folder / "pg_dump", folder / "psql"
    if not os.access(pg_dump, os.X_OK):
        return None
    named = re.search(r"(?:postgresql[/@]|pgsql-)(\d+)(?:/bin)?$", str(folder))
    major = int(named[1]) if named else _ask(pg_dump)
    return Client(pg_dump, psql if os.access(psql, os.X_OK) else None, major)


def _ask(pg_dump: Path) -> int:
    try:
        answer = subprocess.run([pg_dump, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    found = re.search(r"\(PostgreSQL\) (\d+)", answer)
    return int(found[1]) if found else 0
