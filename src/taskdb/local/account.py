"""The operating-system user that a local server runs as."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from taskdb.errors import TaskdbError

__all__ = ["Account"]

# The server keeps its environment after the command ends, so no passphrase and no PGPASSWORD is passed to it.
KEPT = ("PATH", "LD_LIBRARY_PATH", "TZ")


@dataclass(frozen=True)
class Account:
    """The account of a server, which is never root: PostgreSQL's initdb, pg_ctl and postgres reject root.

    An ordinary user's server runs as that user. Root's server runs as `postgres` or, without it, as `nobody`.
    """

    uid: int
    gid: int

    @classmethod
    def for_new_server(cls) -> Account:
        """Return the account for a server that this process creates. Raises TaskdbError if there is none."""
        if os.geteuid() != 0:
            return cls(os.geteuid(), os.getegid())
        for name in ("postgres", "nobody"):
            try:
                user = pwd.getpwnam(name)
            except KeyError:
                continue
            return cls(user.pw_uid, user.pw_gid)
        raise TaskdbError(
            "A PostgreSQL server does not run as root, and this system has no user `postgres` or `nobody`. "
            "Make one and start again: useradd --system postgres && taskdb server start"
        )

    @classmethod
    def owning(cls, path: Path) -> Account:
        """Return the account that owns `path`. A server runs as the owner of its data."""
        status = path.stat()
        return cls(status.st_uid, status.st_gid)

    @property
    def is_this_process(self) -> bool:
        """Whether this process already runs as this account."""
        return self.uid == os.geteuid()

    def own(self, path: Path) -> None:
        """Make this account the owner of `path`, but not of its contents."""
        if not self.is_this_process:
            os.chown(path, self.uid, self.gid)

    def run(self, *command: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `command` as this account, in English, with only the variables in `KEPT`.

        Raises:
            OSError: This account cannot execute the program.

        """
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        switch = not self.is_this_process
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            cwd="/",
            env=environment | {"LC_ALL": "C"},
            user=self.uid if switch else None,
            group=self.gid if switch else None,
            extra_groups=[] if switch else None,
            check=False,
        )
