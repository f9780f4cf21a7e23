"""What the analysis of a statement finds: its locks, and what it rewrites, scans and deletes. Pure."""

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
"""The lock modes of a table, the weakest first (PostgreSQL 15 manual, table 13.2, in the order of lockdefs.h)."""

OF_ROWS = MODES[:3]
"""Those that a statement about rows takes, of some tables only where it finds any."""

STRONG = MODES[MODES.index("SHARE") :]
"""Those that stop writers of the table, the strongest its readers too."""

_WEAKEST_CONFLICT = {
    "SHARE": "ROW EXCLUSIVE",
    "SHARE ROW EXCLUSIVE": "ROW EXCLUSIVE",
    "EXCLUSIVE": "ROW SHARE",
    "ACCESS EXCLUSIVE": "ACCESS SHARE",
}


def conflicting(mode: str) -> tuple[str, ...]:
    """The modes that a STRONG one waits for (PostgreSQL 15 manual, table 13.2)."""
    modes = MODES[MODES.index(_WEAKEST_CONFLICT[mode]) :]
    return tuple(other for other in modes if other != mode or mode != "SHARE")


@dataclass(frozen=True)
class Lock:
    """A lock on a table that a statement holds to the end of its transaction.

    `mode` is PostgreSQL's name in words, such as `ACCESS EXCLUSIVE`; `table` is the name as PostgreSQL prints it,
    with its schema where that is known. `new` is a table that the plan itself makes: nobody else waits for it.
    """

    table: str
    mode: str
    new: bool = False


@dataclass(frozen=True)
class Effects:
    """What a statement does to existing tables: those that it rewrites or scans under its lock, and what it deletes.

    `destroys` names each thing with its kind: `table app.tasks`, `column app.tasks.title`, `rows of app.tasks`.
    `unknown` says what else happens that the statement's text does not show, such as `DO block`.
    """

    locks: tuple[Lock, ...] = ()
    rewrites: tuple[str, ...] = ()
    scans: tuple[str, ...] = ()
    destroys: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
