"""Patterns of pg_dump, which can leave out tables by a pattern, and all else only with all of the tables. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["literal", "matching"]


def matching(wanted: Iterable[str], others: Iterable[str]) -> str:
    """A pattern, as psql and pg_dump read one, that matches each of the `wanted` names and none of the `others`.

    It is a regular expression, whose `.*` these programs write as `*`; what is in double quotes stands for itself.
    There is no negation but that of a character, so that it follows the others until a wanted name leaves them.
    """
    ours, theirs = _by_character(wanted), _by_character(others)
    parts = [literal(first) + matching(ours[first], theirs[first]) for first in ours.keys() & theirs.keys() if first]
    if any(first and first not in theirs for first in ours):
        parts.append(_another(theirs))
    return f"({'|'.join([*sorted(parts), *([''] if '' in ours else [])])})"


def literal(text: str) -> str:
    """The pattern of this text alone."""
    return '"{}"'.format(text.replace('"', '""'))


def _by_character(names: Iterable[str]) -> Mapping[str, list[str]]:
    """The rest of each name, by its first character; empty for an empty name."""
    rests = defaultdict[str, list[str]](list)
    for name in names:
        rests[name[:1]].append(name[1:])
    return rests


def _another(characters: Iterable[str]) -> str:
    """One character that is none of these, and whatever follows."""
    # A hyphen that is not the last one stands for a range.
    among = "".join(sorted(characters, key=lambda character: (character == "-", character)))
    return f"[^{literal(among)}]*" if among else "?*"
