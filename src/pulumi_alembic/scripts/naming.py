"""The naming rule of revisions: id `YYYYMMDD_NNN`, file `YYYYMMDD_NNN_words_of_the_message.py`.

The rule applies to a project if at least one file follows it, and to an empty project. Other projects keep Alembic's
random ids.
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
    """Return whether the rule applies to a project with these scripts."""
    return not file_names or any(revision_id_of(name) for name in file_names)


def is_usable(text: str) -> bool:
    """Return whether Alembic's table and a command line accept the id: 1 to 32 letters, digits and underscores."""
    return _USABLE.fullmatch(text) is not None


def is_meant(text: str) -> bool:
    """Return whether an id begins with eight digits like those of the rule. It follows the rule or is a mistake."""
    return _MEANT.fullmatch(text) is not None


def is_revision_id(text: str) -> bool:
    """Return whether the text is an eight-digit calendar date, an underscore and a three-digit number."""
    match = _REVISION_ID.fullmatch(text)
    return match is not None and _is_date(match[1])


def revision_id_of(file_name: str) -> str | None:
    """Return the revision id that a file of this name must declare, or None if the name breaks the rule."""
    match = _FILE_NAME.fullmatch(file_name)
    return match[1] if match and is_revision_id(match[1]) else None


def next_revision_id(taken: Iterable[str], today: date) -> str:
    """Return an id that sorts after every taken one: today's date and the highest number plus one.

    The number does not restart each day, so that it determines the order of two revisions. Raises ValueError if 999 is
    taken.
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
