"""Find PostgreSQL's server programs on this machine, with their versions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from pulumi_alembic.database.pg_programs import PLACES
from pulumi_alembic.database.pg_programs import Programs as Binaries
from taskdb.local.account import Account

__all__ = ["OLDEST_MAJOR", "PROGRAMS", "Binaries", "find_binaries", "inspect"]

OLDEST_MAJOR = 13
PROGRAMS = ("initdb", "pg_ctl", "postgres")
ANSWER_TIMEOUT = 20  # seconds


def find_binaries(packages: Path, account: Account) -> Iterator[Binaries]:
    """Return every server that `account` can run, of any version, the preferred first.

    The order is: the PATH's, that of `pg_config`, the system's directories, `packages`. In each directory the newest is
    first.
    """
    for folder in dict.fromkeys(_folders(packages)):
        binaries = inspect(folder, account)
        if binaries:
            yield binaries


def inspect(folder: Path, account: Account) -> Binaries | None:
    """Return the server programs in `folder`. None if `account` cannot run them."""
    if not all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
        return None
    try:
        answer = account.run(folder / "postgres", "--version")
    except OSError:
        return None
    version = re.search(r"\(PostgreSQL\) (\d+(?:\.\d+)?)", answer.stdout)
    return Binaries(folder, version[1]) if answer.returncode == 0 and version else None


def _folders(packages: Path) -> Iterator[Path]:
    on_path = shutil.which("postgres")
    if on_path:
        yield Path(on_path).resolve().parent
    if shutil.which("pg_config"):
        with suppress(subprocess.TimeoutExpired):
            answer = subprocess.run(
                ["pg_config", "--bindir"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=ANSWER_TIMEOUT,
            )
            if answer.returncode == 0:
                yield Path(answer.stdout.strip())
    for place in PLACES:
        yield from _newest_first(Path("/").glob(place.lstrip("/")))
    yield from _newest_first(packages.glob("postgresql-*/bin"))


def _newest_first(folders: Iterable[Path]) -> list[Path]:
    return sorted(folders, key=_version_in_name, reverse=True)


def _version_in_name(folder: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", folder.parent.name)]
