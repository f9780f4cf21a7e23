"""Create, start and stop one PostgreSQL cluster in one directory."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from taskdb.errors import TaskdbError
from taskdb.local.account import Account
from taskdb.local.binaries import Binaries
from taskdb.local.postmaster import forget_foreign_process, stop_postmaster

__all__ = ["ADMIN", "HOST", "Cluster"]

HOST = "127.0.0.1"
ADMIN = "admin"

# TCP on loopback only, because the path of a socket is limited to about 100 bytes.
# PostgreSQL 13's default for passwords is still md5.
SETTINGS = {"listen_addresses": HOST, "unix_socket_directories": "", "password_encryption": "scram-sha-256"}
# The superuser that initdb creates has no password, so nobody can log in as it.
ACCESS = f"host all all {HOST}/32 scram-sha-256\n"

LINES_SHOWN = 8


@dataclass(frozen=True)
class Cluster:
    """A cluster that listens on loopback only. Its one login is `admin`: CREATEROLE and CREATEDB, not superuser.

    `folder` contains `data` and `server.log`. `account` can enter it.
    """

    folder: Path
    binaries: Binaries
    account: Account

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.folder / "data"

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self.folder / "server.log"

    def create(self, password: str, settings: Mapping[str, str] | None = None) -> None:
        """Create the cluster in the empty `folder` without starting it.

        After a failure the folder contains an incomplete cluster, and must be deleted.

        Args:
            password: The admin's password.
            settings: Further settings of postgresql.conf.

        Raises:
            TaskdbError: A program failed.

        """
        self.data.mkdir(mode=0o700)
        self.log.touch(mode=0o600)
        for path in (self.data, self.log):
            self.account.own(path)
        self._initdb()
        with (self.data / "postgresql.conf").open("a") as conf:
            for name, value in (SETTINGS | dict(settings or {})).items():
                conf.write(f"{name} = '{value}'\n")
        (self.data / "pg_hba.conf").write_text(ACCESS)
        self._create_admin(password)

    def start(self, port: int) -> None:
        """Start the server, and return when it accepts connections on `port`.

        Raises:
            TaskdbError: It does not start. The text ends with its log.

        """
        forget_foreign_process(self.data)
        logged = self.log.stat().st_size
        done = self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.log, "-o", f"-p {port}")
        if done.returncode != 0:
            with self.log.open("rb") as log:
                log.seek(logged)
                output = log.read().decode(errors="replace")
            again = "Fix that, then start it again: taskdb server start"
            self._fail(f"The server did not start. {again}. Its log {self.log} ends:", output)

    def stop(self) -> None:
        """End the server and its sessions. Committed transactions remain."""
        stop_postmaster(self.data)

    def _initdb(self) -> None:
        common = ("-D", self.data, "-U", "postgres", "-A", "reject", "-E", "UTF8", "--data-checksums")
        # Not every C library has C.UTF-8. If initdb fails, it empties the folder again.
        if self._run("initdb", *common, "--locale=C.UTF-8").returncode != 0:
            self._check(self._run("initdb", *common, "--locale=C"), "create a cluster")

    def _create_admin(self, password: str) -> None:
        statement = f"CREATE ROLE {ADMIN} LOGIN CREATEROLE CREATEDB PASSWORD '{_scram_verifier(password)}'\n"
        single_user = ("--single", "-D", self.data, "-c", "exit_on_error=true", "postgres")
        self._check(self._run("postgres", *single_user, stdin=statement), f"create the role {ADMIN}")

    def _run(self, program: str, *arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.account.run(self.binaries.program(program), *arguments, stdin=stdin)

    def _check(self, done: subprocess.CompletedProcess[str], purpose: str) -> None:
        if done.returncode != 0:
            self._fail(f"Could not {purpose} in {self.folder}:", done.stdout + done.stderr)

    def _fail(self, what: str, output: str) -> None:
        raise TaskdbError("\n  ".join([what, *output.splitlines()[-LINES_SHOWN:]]))


def _scram_verifier(password: str) -> str:
    """Return what PostgreSQL stores for a password (RFC 5803), so that the server does not see or log it."""
    salt, rounds = secrets.token_bytes(16), 4096
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    text = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${rounds}:{text[0]}${text[1]}:{text[2]}"
