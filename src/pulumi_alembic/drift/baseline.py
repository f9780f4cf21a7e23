"""The drift baseline: record what an update leaves, without accepting what others changed before it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Protocol

from pulumi_alembic.database.connection import Connection, Session, connect
from pulumi_alembic.drift import store
from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.difference.ignored import is_infrastructure
from pulumi_alembic.drift.difference.snapshot import Snapshot
from pulumi_alembic.drift.reader import read_between_transactions
from pulumi_alembic.drift.report import ReportedDifference, lines, listed, reported
from pulumi_alembic.errors import DatabaseError, RevisionFailed
from pulumi_alembic.ledger import ledger
from pulumi_alembic.output.wording import counted, first
from pulumi_alembic.scripts.origin import Origin

__all__ = ["DriftBaseline"]

_SHOWN = 20


class DriftListener(Protocol):
    """Receives what is accepted as expected, and what is drift."""

    def info(self, text: str) -> None:
        """Report progress."""

    def warning(self, text: str) -> None:
        """Report something that a person must look at."""


class DriftBaseline:
    """Reads the database before and after a run. The new baseline is the old one and what the run changed.

    Drift is reported as a warning and remains drift. If a run was killed, the next one uses the snapshot from its
    beginning. No transaction is open while snapshots are parsed, compared or packed.

    Args:
        url: the database.
        expected: the digest in the stack's state, empty if it has none.
        listener: gets the reports.
        infrastructure: other resources of the stack changed in this update, before the first snapshot. Changes to roles
            and privileges up to then are accepted as theirs.
        ignore: patterns of what is not compared.
        stack: the name of the stack, for the ledger.

    Attributes:
        fingerprint: the digest for the state after the run.
        drift: the differences that were reported after the run, by name, as lines.

    """

    def __init__(
        self,
        url: str,
        expected: str,
        listener: DriftListener,
        *,
        infrastructure: bool,
        ignore: Sequence[str],
        stack: str,
    ) -> None:
        self.fingerprint = expected
        self.drift: dict[str, list[str]] = {}
        self._url = url
        self._infrastructure = infrastructure
        self._ignore = ignore
        self._origin = Origin(stack)
        self._warn = listener.warning
        self._tell = listener.info
        self._before: Snapshot | None = None

    def __enter__(self) -> DriftBaseline:
        return self

    def begin(self) -> None:
        """Record the snapshot before something runs."""
        with connect(self._url) as connection:
            ledger.prepare(connection)
            connection.commit()
            expected = self._expected(connection)
            self._before = self._begun(connection, expected)
            store.begin(connection, self._before, self.fingerprint, self._origin)
            connection.commit()

    def __exit__(self, type_: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            try:
                self._end()
            except DatabaseError as lost:
                self._warn(f"the schema could not be read after the update; the next update reads it: {lost}")
        elif isinstance(error, RevisionFailed) and self._before is not None:
            with suppress(DatabaseError):
                self._end()

    def _end(self) -> None:
        with connect(self._url) as connection:
            # The privileges on the ledger are part of the snapshot.
            ledger.prepare(connection)
            connection.commit()
            snapshot = self._expected(connection)
            before = self._before or self._begun(connection, snapshot)
            after = read_between_transactions(connection, snapshot.roles if snapshot else (), self._tell)
            expected = self._after(snapshot, before, after)
            store.keep(connection, expected, self._origin, {"expected": self.fingerprint})
            connection.commit()
        self.fingerprint = expected.digest
        whole = difference(expected, after, self._ignore)
        if whole:
            differences = reported(whole)
            self.drift = lines(differences)
            self._warn(_drifted(differences, whole.upgrade))

    def _expected(self, connection: Connection) -> Snapshot | None:
        """Return the expected snapshot. If the stack's state was lost, use the newest one of the ledger."""
        digest = self.fingerprint or store.newest(connection)
        snapshot = store.find(connection, store.current(connection, digest)[0]) if digest else None
        connection.rollback()
        return snapshot.snapshot if snapshot else None

    def _begun(self, connection: Session, expected: Snapshot | None) -> Snapshot:
        began = store.interrupted(connection, self.fingerprint)
        connection.rollback()
        return began.snapshot or read_between_transactions(connection, expected.roles if expected else (), self._tell)

    def _after(self, expected: Snapshot | None, before: Snapshot, after: Snapshot) -> Snapshot:
        if expected is None:
            if self.fingerprint and self.fingerprint != after.digest:
                self._warn(
                    f"the ledger contains no snapshot with the digest of the last update, {self.fingerprint}: drift "
                    "cannot be computed, and the schema as it is now is the new baseline"
                )
            return after
        if self._infrastructure:
            expected = self._take_infrastructure(expected, before)
        if before.heads == expected.heads:
            return expected.moved(before, after)
        if after.heads == expected.heads:
            return expected
        self._warn(
            "the database was moved to another revision outside the stack: drift cannot be computed, and the "
            "schema as it is now is the new baseline"
        )
        return after

    def _take_infrastructure(self, expected: Snapshot, before: Snapshot) -> Snapshot:
        taken = expected.taking(before, is_infrastructure)
        changes = reported(difference(expected, taken))
        if changes:
            names = first([change.name for change in changes], _SHOWN)
            self._tell("\n  ".join(["accepted as changes of this update to roles and rights:", *names]))
        return taken


def _drifted(differences: Sequence[ReportedDifference], upgrade: str) -> str:
    advice = upgrade or "Fix it: pulumi-alembic drift --sql. Accept it: pulumi-alembic drift --accept --reason WHY"
    head = f"drift, {counted(len(differences), 'difference')} from what the last update left:"
    return "\n  ".join([head, *listed((drifted.name, drifted.lines) for drifted in differences), advice])
