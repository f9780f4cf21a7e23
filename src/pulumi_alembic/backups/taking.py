"""Take a backup before an update. It is complete, checked and recorded before the first revision, or nothing runs."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psycopg import sql

from pulumi_alembic.backups import folder as backups
from pulumi_alembic.backups.content import Content
from pulumi_alembic.backups.definitions import read_fingerprint
from pulumi_alembic.backups.folder import Backup, size_text
from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.database import pg_programs
from pulumi_alembic.database.connection import connect, log_in, refusals
from pulumi_alembic.database.sessions import Session, Wait, those
from pulumi_alembic.errors import BackupError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.output.redact import redact
from pulumi_alembic.review import build
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.scripts.origin import Origin
    from pulumi_alembic.scripts.plan import Plan

__all__ = ["Maker", "end_others"]

_JOBS = 4
_SAY = 1.0  # seconds
_APPLICATION = "pulumi-alembic backup"

# A pg_dump whose parent process was killed continues and holds locks. No other run backs up here now.
_OTHERS = f"""
FROM pg_stat_activity
WHERE datname = current_database() AND usename = session_user AND application_name = '{_APPLICATION}'
"""
_END_OTHERS = f"SELECT pg_terminate_backend(pid) {_OTHERS}"
_BLOCKERS = f"SELECT DISTINCT unnest(pg_blocking_pids(pid)) {_OTHERS}"


class BackupListener(Protocol):
    """Receives the progress and the results."""

    def status(self, text: str) -> None:
        """Report the progress."""

    def info(self, text: str) -> None:
        """Report which backup was taken, or why none was."""


@dataclass(frozen=True)
class Maker:
    """Backs up the database of a job if its setting asks for that. The caller holds the migration lock."""

    setting: BackupSetting
    job: Job
    listener: BackupListener

    def back_up(self, plan: Plan, origin: Origin) -> str:
        """Back up before `plan` runs, and return the backup's id. Empty if the setting asks for none.

        Raises:
            BackupError: the backup failed, and none of it is left.
            DatabaseError: the same.

        """
        if self.setting.when is When.NEVER:
            return ""
        reason = str(When.ALWAYS)
        if self.setting.when is When.DESTRUCTIVE:
            _, review = build.review_from_database(replace(self.job, target=plan.target), Settings())
            reason = self.setting.reason(review)
        return self._make(reason, origin) if reason else ""

    def _make(self, reason: str, origin: Origin) -> str:
        folder, begun = self.setting.folder.absolute(), time.monotonic()
        end_others(self.job.url)
        with connect(self.job.url) as connection:
            # Reading a table's size waits for an exclusive lock on it.
            connection.execute(f"SET lock_timeout = {round(self.job.policy.lock_deadline * 1000)}".encode())
            content = Content.read(connection)
            connection.commit()
            if content.empty:
                self.listener.info("no backup: there is nothing in the database yet")
                return ""
            tools = pg_programs.find(content.server // 10000)
            fingerprint = self._fingerprint(connection, content)
            now = datetime.now(UTC)
            id = re.sub(r"[^A-Za-z0-9_-]", "_", f"{content.name}-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}")
            with backups.making(folder, id, content.identity) as partial:
                if opened := backups.close_to_others(folder):
                    self.listener.info(
                        f"other users of this machine could read {opened} files of older backups; corrected their modes"
                    )
                _require_space(folder, content.size)
                self._dump(tools, content, partial)
                _check(tools, partial)
                if self._fingerprint(connection, content) != fingerprint:
                    raise BackupError(
                        f"somebody changed the schema of {content.name} while it was backed up, past the migrations. "
                        "Nothing was changed by this update: let that end, then try again"
                    )
                backup = Backup(
                    id,
                    now.isoformat(timespec="milliseconds"),
                    build.database(self.job.url),
                    content.identity,
                    list(content.schemas),
                    list(content.heads),
                    content.ledger,
                    content.server,
                    tools.version,
                    **backups.describe(partial),
                    fingerprint=fingerprint,
                )
                backups.complete(partial, folder, backup)
            seconds = time.monotonic() - begun
            self._record(connection, backup, seconds, origin, {"folder": str(folder), "reason": reason})
        self.listener.info(
            f"backup {id} at {revision_text(backup.heads)}: {size_text(backup.size)} in {seconds:.1f} s, {folder / id} "
            f"({reason}), fingerprint {backup.fingerprint}"
        )
        return id

    def _fingerprint(self, connection: Connection, content: Content) -> str:
        fingerprint = read_fingerprint(connection, content.schemas)
        connection.commit()
        return fingerprint

    def _record(
        self, connection: Connection, backup: Backup, seconds: float, origin: Origin, detail: dict[str, str]
    ) -> None:
        ledger.prepare(connection)
        recorded = {**detail, "checksum": backup.checksum, "size": backup.size, "identity": backup.identity}
        recorded["fingerprint"] = backup.fingerprint
        run = Run(backup.heads, backup.heads, seconds, backup=backup.id)
        ledger.note(connection, Row(Event.BACKUP, run, recorded), origin)
        connection.commit()

    def _dump(self, tools: pg_programs.Programs, content: Content, partial: Path) -> None:
        command = [
            str(tools.program("pg_dump")),
            "--format=directory",
            f"--jobs={min(_JOBS, os.cpu_count() or 1)}",
            "--compress=1",
            "--no-password",
            f"--lock-wait-timeout={round(self.job.policy.lock_deadline * 1000)}",
            f"--role={content.owner}",
            *(f"--schema={sql.Identifier(schema).as_string(None)}" for schema in content.schemas),
            f"--file={partial / backups.DUMP}",
        ]
        begun = time.monotonic()
        with tempfile.TemporaryFile() as errors, closing(log_in(self.job.url, autocommit=True)) as session:
            process = subprocess.Popen(
                command,
                env=pg_programs.environment(self.job.url, PGAPPNAME=_APPLICATION),
                stdin=subprocess.DEVNULL,
                stderr=errors,
                stdout=errors,
                umask=0o077,
            )
            blocked = _Blocked(self.job.policy.lock_deadline)
            try:
                while _runs(process) and not blocked.too_long(session):
                    written = sum(file.stat().st_size for file in (partial / backups.DUMP).glob("*"))
                    seconds = time.monotonic() - begun
                    waits = f", waiting for {blocked}" if blocked.since else ""
                    self.listener.status(f"backing up {content.name}: {size_text(written)}, {seconds:.0f} s{waits}")
            finally:
                process.kill()
                process.wait()
            if process.returncode:
                errors.seek(0)
                raise _failed(errors.read().decode(errors="replace"), content, partial.parent, blocked)


@dataclass
class _Blocked:
    """The sessions that pg_dump waits for. Its own limit applies only to locks of tables."""

    limit: float
    whom: tuple[Session, ...] = ()
    since: float | None = None

    def __str__(self) -> str:
        return " and ".join(map(str, self.whom))

    def too_long(self, session: Connection) -> bool:
        """Look for whom pg_dump waits, and return whether it has waited longer than the limit."""
        pids = [pid for (pid,) in session.execute(_BLOCKERS).fetchall()]
        if not pids:
            self.whom, self.since = (), None
            return False
        self.whom, self.since = those(session, pids), self.since or time.monotonic()
        return time.monotonic() - self.since > self.limit


def _runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_SAY)
    except subprocess.TimeoutExpired:
        return True
    return False


def end_others(url: str) -> None:
    """End each pg_dump of a killed run in the database. The caller holds the migration lock."""
    with closing(log_in(url, autocommit=True)) as session, refusals(session):
        session.execute(_END_OTHERS)


def _require_space(folder: Path, needed: int) -> None:
    """Raise BackupError if the disk has less space than the tables use: a dump is at most about as large."""
    volume = os.statvfs(folder)
    free = volume.f_bavail * volume.f_frsize
    if free < needed:
        raise BackupError(
            f"the backup directory {folder} has {size_text(free)} left, and the backup may need {size_text(needed)}. "
            "Nothing was changed: make room, or name another folder (backup_folder)"
        )


def _check(tools: pg_programs.Programs, partial: Path) -> None:
    """Raise BackupError if pg_restore cannot read the dump's list of contents."""
    done = subprocess.run(
        [tools.program("pg_restore"), "--list", partial / backups.DUMP], capture_output=True, text=True, check=False
    )
    if done.returncode or " TABLE " not in done.stdout:
        raise BackupError(f"the backup was written, and pg_restore cannot read it: {_words(done.stderr)}. Try again")


def _failed(errors: str, content: Content, folder: Path, blocked: _Blocked) -> BackupError:
    if blocked.since is not None and (not errors or "timeout" in errors):
        wait = Wait(time.monotonic() - blocked.since, blocked.whom)
        return BackupError(f"the backup of {content.name} failed, and nothing was changed: {wait}. {wait.advice}")
    advice = f"see what is left on the disk of {folder}" if "space" in errors or "write" in errors else "try again"
    if "row-level security" in errors:
        advice = f"let {content.owner} read every row: ALTER TABLE … NO FORCE ROW LEVEL SECURITY"
    return BackupError(
        f"the backup of {content.name} failed, and nothing was changed. pg_dump: {_words(errors)}. Then: {advice}"
    )


def _words(errors: str) -> str:
    lines = [line.removeprefix("pg_dump: ").removeprefix("error: ") for line in errors.splitlines() if line.strip()]
    return redact("; ".join(lines[:4])) or "it says nothing"
