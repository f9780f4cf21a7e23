"""Restore a backup in one transaction, so that other sessions see the old state or the new one, and nothing between."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from pulumi_alembic.backups.archive import Archive
from pulumi_alembic.backups.content import Content
from pulumi_alembic.backups.definitions import read_fingerprint
from pulumi_alembic.backups.emptying import empty, take_back_defaults
from pulumi_alembic.backups.folder import DUMP, Backup
from pulumi_alembic.backups.taking import end_others
from pulumi_alembic.database import pg_programs
from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA, Connection, Session, connect, read_heads
from pulumi_alembic.database.migration_lock import Lock, hold
from pulumi_alembic.database.retry import busy
from pulumi_alembic.database.sessions import Patience, Wait, patience, waits
from pulumi_alembic.errors import BackupError, DatabaseError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.ledger.table import LEDGER, TABLE
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.scripts.plan import revision_text

__all__ = ["Restore"]

_PAUSE = (0.4, 0.8)  # seconds


@dataclass(frozen=True)
class Restore:
    """Restores a backup to the database of a job.

    Attributes:
        backup: its manifest.
        folder: the backup directory.
        replace: also replace a non-empty database that is not the backup's.
        another_fingerprint: accept that the restored schemas have another fingerprint than the backup.
        tell: gets progress.

    """

    backup: Backup
    folder: Path
    job: Job
    replace: bool = False
    another_fingerprint: bool = False
    tell: Callable[[str], None] = lambda text: None

    def look(self) -> Content:
        """Return the content that would be replaced.

        Raises BackupError if that is impossible, or is not allowed by an option.
        """
        with connect(self.job.url) as connection:
            content = Content.read(connection)
        if missing := [schema for schema in self.backup.schemas if schema not in content.schemas]:
            raise BackupError(
                f"database {content.name}: {content.owner} has no schema {missing[0]}, which is in the backup. "
                f"As an admin: CREATE SCHEMA {missing[0]} AUTHORIZATION {content.owner}; then: {self.job.command}"
            )
        if not (content.empty or self.replace or self._same(content)):
            raise BackupError(
                f"database {content.name} is not the one that backup {self.backup.id} is of ({self.backup.database}), "
                f"and it is not empty: it is at {revision_text(content.heads)}. To lose what is in it: "
                f"{self.job.command} --replace"
            )
        return content

    def __call__(self) -> str:
        """Restore, and return the database's revision, which is the backup's. No other run migrates meanwhile.

        Raises:
            BackupError: the restore failed, and the database is unchanged.
            DatabaseError: the same. But if the connection is lost during the commit, only reading the database shows
                the result.

        """
        self.backup.verify(self.folder, self.tell)
        with (
            waits(self.tell, self.job.policy.lock_deadline),
            hold(self.job.url, self.job.policy, self.job.command, self.tell) as lock,
        ):
            content = self.look()
            tools = pg_programs.find(max(content.server // 10000, int(self.backup.client.partition(".")[0])))
            same = self._same(content)
            kept = [name for table in content.tables if (name := table.removeprefix(f"{KEPT_SCHEMA}.")) != table]
            archive = Archive(tools, self.folder / self.backup.id / DUMP, ledger=not same, there=kept)
            end_others(self.job.url)
            self._in_one_transaction(archive, same, lock)
        with connect(self.job.url) as connection:
            return revision_text(read_heads(connection))

    def _same(self, content: Content) -> bool:
        return content.identity == self.backup.identity

    def _in_one_transaction(self, archive: Archive, same: bool, lock: Lock) -> None:
        begun = time.monotonic()
        with connect(self.job.url) as connection:
            content = self._make_room(connection, same, begun)
            self.tell(f"restoring {archive.tables} tables")
            archive.make_objects(connection)
            if same:
                take_back_defaults(connection, content.schemas)
            archive.add_rows(connection, self.tell)
            self.tell("creating indexes and constraints")
            archive.complete(connection)
            if same:
                archive.grant(connection)
            self._analyze(connection)
            self._record(connection, content, same, time.monotonic() - begun)
            self._require_revision(connection)
            self._require_fingerprint(connection, content.server)
            if not lock.held():
                raise DatabaseError(f"the connection that kept migrations out was lost. Try again: {self.job.command}")
            connection.commit()

    def _make_room(self, connection: Session, same: bool, begun: float) -> Content:
        """Empty the schemas in this transaction. Try again until the deadline, so that others do not queue for long."""
        timeout = round(self.job.policy.lock_timeout * 1000)
        while True:
            try:
                content = Content.read(connection)
                connection.patience = Patience(after=self.job.policy.lock_timeout / 2)
                connection.execute(
                    f"SET LOCAL lock_timeout = {timeout}; SET LOCAL statement_timeout = 0; "
                    "SET LOCAL idle_in_transaction_session_timeout = 0".encode()
                )
                if same:
                    ledger.prepare(connection)
                # The owner has revoked its own privilege to lock the ledger, and does not need one to drop it.
                for table in sorted({*content.tables} - {f"{VERSION_SCHEMA}.{LEDGER}"}):
                    if table.startswith(f"{KEPT_SCHEMA}."):
                        continue
                    connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
                schemas = [schema for schema in content.schemas if schema != KEPT_SCHEMA]
                empty(connection, schemas, keep_ledger=same)
                connection.patience = patience()
                return content
            except psycopg.Error as error:
                connection.rollback()
                waited = time.monotonic() - begun
                if not busy(error):
                    raise
                wait = connection.wait_ended
                whom = Wait(waited, wait.whom if wait and wait.error is error else ())
                if waited > self.job.policy.lock_deadline:
                    raise BackupError(f"nothing was restored or changed: {whom}. {whom.advice}") from None
                self.tell(f"no lock of every table yet: {whom}")
                time.sleep(random.uniform(*_PAUSE))  # noqa: S311 - not a secret

    def _analyze(self, connection: Connection) -> None:
        connection.execute("SELECT set_config('search_path', 'pg_catalog', true)")
        for table in Content.read(connection).tables:
            connection.execute(f"ANALYZE {table}".encode())

    def _record(self, connection: Connection, before: Content, same: bool, seconds: float) -> None:
        """Add the restore to the ledger: to that of this database, or to the one from the backup."""
        ledger.prepare(connection)
        if not same:
            connection.execute(sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON {} FROM CURRENT_USER").format(TABLE))
        heads = before.heads if same else self.backup.heads
        run = Run(heads, self.backup.heads, seconds, backup=self.backup.id)
        detail = {"ledger": self.backup.ledger, "from": self.backup.database, "checksum": self.backup.checksum}
        detail["replaced"] = list(before.heads)
        ledger.note(connection, Row(Event.RESTORED, run, detail), self.job.origin)

    def _require_revision(self, connection: Connection) -> None:
        if (heads := read_heads(connection)) != tuple(self.backup.heads):
            raise BackupError(
                f"backup {self.backup.id} says it is at {revision_text(self.backup.heads)}, and what it holds is at "
                f"{revision_text(heads)}. Nothing was changed: take another one"
            )

    def _require_fingerprint(self, connection: Connection, server: int) -> None:
        """Compare the fingerprint if the major versions are the same.

        Otherwise the same catalog can be printed differently.
        """
        backup = self.backup
        ours, its = server // 10000, backup.server // 10000
        if not backup.fingerprint or ours != its:
            why = f"it is of PostgreSQL {its}, and this is {ours}" if backup.fingerprint else "the backup has none yet"
            self.tell(f"the fingerprint is not compared: {why}")
            return
        fingerprint = read_fingerprint(connection, backup.schemas)
        mismatch = (
            f"backup {backup.id} has the fingerprint {backup.fingerprint}, and what it restores has {fingerprint}"
        )
        if fingerprint != backup.fingerprint and not self.another_fingerprint:
            raise BackupError(
                f"{mismatch}. Nothing was changed. Compare the two in an empty database (--into URL), "
                "or take it as it is: "
                f"{self.job.command} --another-fingerprint"
            )
        self.tell(
            mismatch if fingerprint != backup.fingerprint else f"the fingerprint is that of the backup: {fingerprint}"
        )
