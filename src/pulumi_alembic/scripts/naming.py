"""The naming rule of revisions: `YYYYMMDD_NNN`, in a file `YYYYMMDD_NNN_words_of_the_message.py`.

It holds in a project of which one file is named so, and in an empty one. Others keep the ids that Alembic gave them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from datetime import date

__all__ = ["RULE", "holds", "is_meant", "is_revision_id", "is_usable", "next_revision_id", "revision_id_of"]

RULE = "YYYYMMDD_NNN_description.py, such as 20250126_001_initial_schema.py"

_REVISION_ID = re.compile(r"(\d{8})_(\d{3})")
_FILE_NAME = re.compile(r"(\d{8}_\d{3})_[a-z0-9][a-z0-9_]*\.py")


_MEANT = re.compile(r"\d{8}(?:_\w*)?")
_USABLE = re.compile(r"[A-Za-z0-9_]{1,32}")


def holds(file_names: Collection[str]) -> bool:
    """Whether the rule holds in a project with these scripts."""
    return not file_names or any(revision_id_of(name) for name in file_names)


def is_usable(text: str) -> bool:
    """Whether Alembic's table and a command line take it for an id: 1 to 32 letters, digits and underscores."""
    return _USABLE.fullmatch(text) is not None


def is_meant(text: str) -> bool:
    """Whether an id begins as the rule says: it is one of the rule's, or a mistake."""
    return _MEANT.fullmatch(text) is not None


def is_revision_id(text: str) -> bool:
    """True only for an eight-digit calendar date, an underscore and a three-digit number."""
    match = _REVISION_ID.fullmatch(text)
    return match is not None and _is_date(match[1])


def revision_id_of(file_name: str) -> str | None:
    """The revision id that a file of this name must hold; None where the name breaks the rule."""
    match = _FILE_NAME.fullmatch(file_name)
    return match[1] if match and is_revision_id(match[1]) else None


def next_revision_id(taken: Iterable[str], today: date) -> str:
    """An id that sorts behind every id taken: today's date and the highest number plus one.

    The number counts on over the days, so that it alone tells the order of two revisions. Raises ValueError where 999
    is taken.
    """
    number = 1 + max((int(revision[-3:]) for revision in taken), default=0)
    if number > 999:
        raise ValueError("the revision number 999 is taken: the naming rule has no next one")
    return f"{today:%Y%m%d}_{number:03d}"


def _is_date(digits: str) -> bool:
    try:
        date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return True
