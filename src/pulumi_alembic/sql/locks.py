"""Effects of a statement: the locks that it takes, and what it rewrites, scans and deletes."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MODES", "OF_ROWS", "STRONG", "Effects", "Lock", "conflicting"]

MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""The lock modes of tables, the weakest first (PostgreSQL 15 manual, table 13.2, in the order of lockdefs.h)."""

OF_ROWS = MODES[:3]
"""Modes of statements that read or write rows. Some tables are locked only if rows are found."""

STRONG = MODES[MODES.index("SHARE") :]
"""Modes that block writers of the table. The strongest also blocks readers."""

_WEAKEST_CONFLICT = {
    "SHARE": "ROW EXCLUSIVE",
    "SHARE ROW EXCLUSIVE": "ROW EXCLUSIVE",
    "EXCLUSIVE": "ROW SHARE",
    "ACCESS EXCLUSIVE": "ACCESS SHARE",
}


def conflicting(mode: str) -> tuple[str, ...]:
    """Return the modes that a STRONG one waits for (PostgreSQL 15 manual, table 13.2)."""
    modes = MODES[MODES.index(_WEAKEST_CONFLICT[mode]) :]
    return tuple(other for other in modes if other != mode or mode != "SHARE")


@dataclass(frozen=True)
class Lock:
    """A lock on a table until the end of the transaction.

    Attributes:
        table: as PostgreSQL prints it, qualified if the schema is known.
        mode: PostgreSQL's name in words, such as `ACCESS EXCLUSIVE`.
        new: the plan itself creates the table, so that no other session waits for it.

    """

    table: str
    mode: str
    new: bool = False


@dataclass(frozen=True)
class Effects:
    """Effects of a statement on existing tables.

    Attributes:
        rewrites: tables that are rewritten.
        scans: tables that are scanned under the statement's lock.
        destroys: deleted objects with their kind, such as `table app.tasks`, `column app.tasks.title`, `rows of
            app.tasks`.
        unknown: causes of further effects that the text does not show, such as `DO block`.

    """

    locks: tuple[Lock, ...] = ()
    rewrites: tuple[str, ...] = ()
    scans: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
