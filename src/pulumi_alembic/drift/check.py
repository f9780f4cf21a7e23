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
from pulumi_alembic.drift.report import Told, lines, told
from pulumi_alembic.drift.store import Accepted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session

__all__ = ["Seen", "compare"]


@dataclass(frozen=True)
class Seen:
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
    def told(self) -> list[Told]:
        """Each difference that can be told."""
        return told(self.whole) if self.whole is not None else []

    @property
    def drift(self) -> dict[str, list[str]]:
        """The differences by name, line by line; empty where there is none."""
        if self.whole is not None:
            return lines(self.told)
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
        """What to know of the drift where PostgreSQL was upgraded; empty where there is none."""
        return self.whole.upgrade if self.whole else ""


def compare(
    connection: Session,
    expected: str,
    ignore: Sequence[str] = (),
    tell: Callable[[str], None] = lambda text: None,
) -> Seen:
    """Read the database, and compare it with the snapshot of the digest, or with what was accepted since instead.

    The session is in no transaction afterwards, nor while the two are compared. `tell` is told for whom it waits.
    """
    digest, accepted = store.current(connection, expected)
    kept = store.find(connection, digest)
    connection.rollback()
    roles = kept.roles
    found = read_between_transactions(connection, roles, tell)
    if kept.row and digest == found.digest:
        # The digest tells all of a snapshot, so nothing differs, and the stored one need not be verified.
        return Seen(digest, found, Difference((), (), found, found), when=kept.when, accepted=accepted)
    if kept.snapshot is None:
        found = read_between_transactions(connection, (), tell) if roles else found
        return Seen(digest, found, when=kept.when, accepted=accepted)
    if kept.snapshot.heads != found.heads:
        return Seen(digest, found, moved=True, when=kept.when, accepted=accepted)
    return Seen(digest, found, difference(kept.snapshot, found, ignore), when=kept.when, accepted=accepted)
