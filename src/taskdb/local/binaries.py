"""PostgreSQL's server programs on this machine, their folders and versions."""

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
    """Every server that `account` can run here, of whatever version, the preferred first.

    That is the PATH's, the one `pg_config` names, the system's places, `packages`; each place newest first.
    """
    for folder in dict.fromkeys(_folders(packages)):
        binaries = inspect(folder, account)
        if binaries:
            yield binaries


def inspect(folder: Path, account: Account) -> Binaries | None:
    """Run `folder`'s `postgres --version` as `account`; None if that account can run no server there."""
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
