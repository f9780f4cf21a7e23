"""Patterns for pg_dump, which can exclude tables only by pattern. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

__all__ = ["literal", "matching"]


def matching(wanted: Iterable[str], others: Iterable[str]) -> str:
    """Return a pattern of psql and pg_dump that matches each of the `wanted` names and none of the `others`.

    Such a pattern is a regular expression that writes `.*` as `*`, with literal text in double quotes. It can negate
    only one character. So the pattern follows the other names until a wanted name differs from all of them.
    """
    ours, theirs = _by_character(wanted), _by_character(others)
    parts = [literal(first) + matching(ours[first], theirs[first]) for first in ours.keys() & theirs.keys() if first]
    if any(first and first not in theirs for first in ours):
        parts.append(_another(theirs))
    return f"({'|'.join([*sorted(parts), *([''] if '' in ours else [])])})"


def literal(text: str) -> str:
    """Return the pattern that matches only this text."""
    return '"{}"'.format(text.replace('"', '""'))


def _by_character(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the rest of each name by its first character, which is empty for an empty name."""
    rests = defaultdict[str, list[str]](list)
    for name in names:
        rests[name[:1]].append(name[1:])
    return rests


def _another(characters: Iterable[str]) -> str:
    """Return a pattern of one character that is none of these, followed by any text."""
    # A hyphen is a range, except at the end.
    among = "".join(sorted(characters, key=lambda character: (character == "-", character)))
    return f"[^{literal(among)}]*" if among else "?*"
