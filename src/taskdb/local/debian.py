"""PostgreSQL's server as a package of a Debian-like system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

from taskdb.errors import TaskdbError

__all__ = ["install_debian_package"]

INSTALL = ("install", "-y", "--no-install-recommends", "postgresql")

# An unreachable mirror is given up soon; another apt-get that is at work is waited for.
LIMITS = (
    "-oAcquire::http::Timeout=15",
    "-oAcquire::https::Timeout=15",
    "-oAcquire::Retries=1",
    "-oDPkg::Lock::Timeout=60",
)


def install_debian_package(say: Callable[[str], None]) -> None:
    """Install the system's `postgresql`, as root; package lists that lack it are updated first.

    Raises TaskdbError with apt-get's last lines.
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
