"""Compares a database with what the last update left there: for a refresh, and for the command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pulumi_alembic.drift import store
from pulumi_alembic.drift.difference.compare import Difference, difference
from pulumi_alembic.drift.difference.snapshot import VERSION, Snapshot
from pulumi_alembic.drift.reader import read_between_transactions
from pulumi_alembic.drift.report import ReportedDifference, lines, reported
from pulumi_alembic.drift.store import Accepted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """What is expected and what was found.

    `whole` is None where nothing can be compared: there is no snapshot of what is expected, or the database was moved
    to another revision, of which `moved` tells.
    """

    expected: str
    found: Snapshot
    whole: Difference | None = None
    moved: bool = False
    when: str = ""
    accepted: list[Accepted] = field(default_factory=list)

    @cached_property
    def reported(self) -> list[ReportedDifference]:
        """Each difference that can be told."""
        return reported(self.whole) if self.whole is not None else []

    @property
    def drift(self) -> dict[str, list[str]]:
        """The differences by name, line by line; empty if there is none."""
        if self.whole is not None:
            return lines(self.reported)
        if self.moved or self.found.digest == self.expected:
            return {}
        same = self.expected.partition(":")[0] == VERSION
        why = (
            "the ledger holds no snapshot with the expected digest"
            if same
            else "another release of this program kept it"
        )
        return {
            "fingerprint": [
                f"expected: {self.expected}",
                f"found:    {self.found.digest}",
                f"what differs cannot be told: {why}. Look at the database: an update takes it as it is: pulumi up",
            ]
        }

    @property
    def upgrade(self) -> str:
        """What to know of the drift where PostgreSQL was upgraded; empty if there is none."""
        return self.whole.upgrade if self.whole else ""


def compare(
    connection: Session,
    expected: str,
    ignore: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Read the database, and compare it with the snapshot of the digest, or with what was accepted since instead.

    The session is in no transaction afterwards, nor while the two are compared. `tell` gets for whom it waits.
    """
    digest, accepted = store.current(connection, expected)
    stored = store.find(connection, digest)
    connection.rollback()
    roles = stored.roles
    current = read_between_transactions(connection, roles, tell)
    if stored.row and digest == current.digest:
        # The digest tells all of a snapshot, so nothing differs, and the stored one need not be verified.
        return Comparison(digest, current, Difference((), (), current, current), when=stored.when, accepted=accepted)
    if stored.snapshot is None:
        current = read_between_transactions(connection, (), tell) if roles else current
        return Comparison(digest, current, when=stored.when, accepted=accepted)
    if stored.snapshot.heads != current.heads:
        return Comparison(digest, current, moved=True, when=stored.when, accepted=accepted)
    return Comparison(
        digest, current, difference(stored.snapshot, current, ignore), when=stored.when, accepted=accepted
    )
