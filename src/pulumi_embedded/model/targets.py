"""Which resources an operation is to touch: URNs, or patterns in which `*` stands for a part of one."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["UrnTargets"]


class UrnTargets:
    """The URNs that were named; none named means every one.

    Pulumi CLI 3.260: `*` matches any characters but colons, `**` any at all, nothing else is special.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        names = list(names)
        self.literals = [name for name in names if "*" not in name]
        self._patterns = [_pattern(name) for name in names if "*" in name]
        self._known = set(self.literals)

    @property
    def constrained(self) -> bool:
        """Whether anything was named."""
        return bool(self._known or self._patterns)

    def __contains__(self, urn: str) -> bool:
        if not self.constrained or urn in self._known:
            return True
        return any(pattern.fullmatch(urn) for pattern in self._patterns)

    def add(self, urn: str) -> None:
        """Names one more, where any was named."""
        if self.constrained:
            self._known.add(urn)


def _pattern(name: str) -> re.Pattern[str]:
    parts = ("[^:]*".join(re.escape(piece) for piece in part.split("*")) for part in name.split("**"))
    return re.compile(".*".join(parts))
