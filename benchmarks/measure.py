"""A claim: the ratio of two alternating measurements, so that other load on the machine affects both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Claim", "claim", "report", "seconds"]


@dataclass(frozen=True)
class Claim:
    """Two measurements, as medians of their rounds, and the limit of their ratio."""

    what: str
    ours: float
    other: float
    ratio: float
    limit: float
    unit: str = "s"

    @property
    def holds(self) -> bool:
        """Return whether the ratio is within its limit."""
        return self.ratio <= self.limit


def seconds(act: Callable[[], object]) -> float:
    """Return the duration of the act in seconds."""
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def claim(what: str, ours: Callable[[], float], other: Callable[[], float], limit: float, *, rounds: int = 7) -> Claim:
    """Measure both in turn, after one round that does not count. The ratio is the median of the rounds' ratios."""
    ours(), other()
    pairs = [(ours(), other()) for _ in range(rounds)]
    mine, theirs = zip(*pairs, strict=True)
    ratio = statistics.median(one / another for one, another in pairs)
    return Claim(what, statistics.median(mine), statistics.median(theirs), ratio, limit)


def report(claims: Sequence[Claim]) -> bool:
    """Print the claims, and return whether all of them hold."""
    for each in claims:
        verdict = "holds" if each.holds else "DOES NOT HOLD"
        print(
            f"{each.what}: {each.ours:.3g} / {each.other:.3g} {each.unit} = {each.ratio:.2f}, "
            f"at most {each.limit:.2f}: {verdict}"
        )
    return all(each.holds for each in claims)
