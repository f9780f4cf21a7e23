"""Compare a database with what the last update left there, for a refresh and for `pulumi-alembic drift`."""

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
from pulumi_alembic.output.engine import engine

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """The expected digest, the current snapshot, and their difference.

    Attributes:
        expected: the digest.
        found: the current snapshot.
        whole: None if nothing can be compared: the expected snapshot is missing, or the database is at another
            revision.
        moved: the database is at another revision.
        when: the time of the expected snapshot.
        accepted: drift that people accepted since.

    """

    expected: str
    found: Snapshot
    whole: Difference | None = None
    moved: bool = False
    when: str = ""
    accepted: list[Accepted] = field(default_factory=list)

    @cached_property
    def reported(self) -> list[ReportedDifference]:
        """The differences as texts."""
        return reported(self.whole) if self.whole is not None else []

    @property
    def drift(self) -> dict[str, list[str]]:
        """The differences by name, as lines. Empty if there are none."""
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
                f"what differs cannot be told: {why}. Look at the database: an update takes it as it is: {engine()} up",
            ]
        }

    @property
    def upgrade(self) -> str:
        """Advice about differences if PostgreSQL was upgraded. Empty otherwise."""
        return self.whole.upgrade if self.whole else ""


def compare(
    connection: Session,
    expected: str,
    ignore: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> Comparison:
    """Compare the database with the snapshot of a digest, or with the one that was accepted in its place.

    No transaction is open while the two are compared, nor afterwards.

    Args:
        connection: a session of the database.
        expected: the digest.
        ignore: patterns of what is not compared.
        tell: gets whom it waits for.

    """
    digest, accepted = store.current(connection, expected)
    stored = store.find(connection, digest)
    connection.rollback()
    roles = stored.roles
    current = read_between_transactions(connection, roles, tell)
    if stored.row and digest == current.digest:
        # The digest covers the whole snapshot. Nothing differs, and the stored snapshot does not need to be verified.
        return Comparison(digest, current, Difference((), (), current, current), when=stored.when, accepted=accepted)
    if stored.snapshot is None:
        current = read_between_transactions(connection, (), tell) if roles else current
        return Comparison(digest, current, when=stored.when, accepted=accepted)
    if stored.snapshot.heads != current.heads:
        return Comparison(digest, current, moved=True, when=stored.when, accepted=accepted)
    return Comparison(
        digest, current, difference(stored.snapshot, current, ignore), when=stored.when, accepted=accepted
    )
