"""Groups of databases or schemas with equal plans, so that a thousand of them have a short summary. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pulumi_alembic.fanout.plan.databases import Kind, Listing, few
from pulumi_alembic.output.wording import counted
from pulumi_alembic.review import plan_text
from pulumi_alembic.review.plan_review import DIGEST_FORMULA, PARTS, PlanReview

__all__ = ["Group", "Groups", "counts_text", "failures", "revisions"]

_SHOWN = 10
_MOST_REVISIONS = 20
_TEXT = 500
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


@dataclass
class Group:
    """The databases with one plan.

    Attributes:
        origin: The revision before the plan.
        text: The plan in one line.
        pending: Whether the plan has anything to run.
        applied: The digests of the scripts that are applied before or after the plan.
        numbers: The databases, by their numbers in the listing.
        review: The review of the plan, made on the first database. None until it is made.
        reaches: The revision after the plan.
        held: The held revisions, each with what it waits for.

    """

    origin: str
    text: str
    pending: bool
    applied: str
    numbers: list[int] = field(default_factory=list)
    review: PlanReview | None = None
    reaches: str = ""
    held: Mapping[str, str] = field(default_factory=dict)

    @property
    def way(self) -> str:
        """The revisions before and after the plan."""
        idle = f"at {self.origin} with {counted(len(self.held), 'revision')} held" if self.held else "already there"
        return self.text.rpartition(", ")[0] if self.pending else idle


@dataclass
class Groups:
    """All databases of a listing, in groups by the key of their plan."""

    listing: Listing
    target: str
    known: dict[str, Group] = field(default_factory=dict)

    def add(self, number: int, key: str, details: Mapping[str, object] | None) -> None:
        """Add a database to the group of its plan.

        Args:
            number: The number of the database in the listing.
            key: The key of the plan.
            details: The fields of the group. Only the first answer of a process with this key has them.

        """
        if details and key not in self.known:
            self.known[key] = Group(**details)  # type: ignore[arg-type]
        self.known[key].numbers.append(number)

    @property
    def pending(self) -> dict[str, Group]:
        """The groups with anything to run, the largest first, then by their first database."""
        ordered = sorted(self.known.items(), key=lambda item: (-len(item[1].numbers), min(item[1].numbers)))
        return {key: group for key, group in ordered if group.pending}

    @property
    def held(self) -> dict[str, str]:
        """The held revisions of all databases, each with the longest wait."""
        held: dict[str, str] = {}
        for group in self.known.values():
            for id, until in group.held.items():
                held[id] = max(held.get(id, ""), until)
        return held

    @property
    def reached(self) -> str:
        """The revisions after the plans, as `counts_text` returns them."""
        counts: Counter[str] = Counter()
        for group in self.known.values():
            counts[group.reaches] += len(group.numbers)
        return counts_text(counts)

    @property
    def reviews(self) -> list[PlanReview]:
        """The reviews of the plans with anything to run."""
        return [group.review for group in self.pending.values() if group.review]

    @property
    def plan(self) -> str:
        """The plans in one line.

        For example `997 databases: 20250126_002 → 20250126_003; 2: base → 20250126_003; 1: already there`.
        """
        idle = [group for group in self.known.values() if not group.pending]
        if not self.pending and not self.held:
            return f"at {self.target}: nothing pending"
        ways = [(group.way, len(group.numbers)) for group in (*self.pending.values(), *idle)]
        more = ways[_SHOWN:]
        text = [f"{number:,}: {way}" for way, number in ways[:_SHOWN]]
        text[0] = f"{self.listing.counted(ways[0][1])}: {ways[0][0]}"
        return "; ".join(text + ([f"{sum(n for _, n in more):,}: {len(more)} other plans"] if more else []))

    @property
    def applied(self) -> Iterator[str]:
        """The digests of applied scripts, for each group."""
        return (group.applied for group in self.known.values())

    @property
    def digest(self) -> str:
        """The digest that an approval names, in the form of `PlanReview.digest`.

        It covers all reviews, and which databases have which.
        """
        reviewed = [(group.review, group) for _, group in sorted(self.pending.items()) if group.review]
        digests = [review.digest.removeprefix(DIGEST_FORMULA).split("-") for review, _ in reviewed]
        named = [sorted(self.listing.names[number : number + 1] for number in group.numbers) for _, group in reviewed]
        whole = _digest([named, [digest[0] for digest in digests]], 32)
        parts = [[digest[number] for digest in digests] for number in range(1, len(PARTS) + 1)]
        parts[0] += [json.dumps(named)]
        return "-".join([f"{DIGEST_FORMULA}{whole}", *(_digest(part, 4) for part in parts)])

    def name(self, number: int) -> str:
        """Return the name of a database, or a description if it has none yet."""
        names = self.listing.names
        return names[number] if number < len(names) else "one that is still to come"

    def summary(self) -> list[str]:
        """Return the review of each plan once, with the number of its databases and the one that it was made on."""
        lines: list[str] = []
        for group in list(self.pending.values())[:_SHOWN]:
            lines.append(f"{self._databases_text(group.numbers)}: {group.text}")
            if group.review:
                lines += [f"  {line}" for line in plan_text.summary(group.review)[:-1]]
                lines.append(f"  seen in {self.name(group.numbers[0])}")
        if len(self.pending) > _SHOWN:
            lines.append(f"… {len(self.pending) - _SHOWN} other plans")
        return lines

    def to_json(self) -> list[dict[str, object]]:
        """Return the reviews as JSON values for a report.

        Plans beyond _SHOWN are one entry, and so are databases with nothing to run.
        """
        pending = list(self.pending.values())
        shown: list[dict[str, object]] = [
            {"databases": self._databases_text(group.numbers), "plan": group.review.to_json() if group.review else None}
            for group in pending[:_SHOWN]
        ]
        if rest := [number for group in pending[_SHOWN:] for number in group.numbers]:
            shown.append(
                {"databases": f"{self._databases_text(rest)} with {len(pending) - _SHOWN} other plans", "plan": None}
            )
        if idle := sorted(number for group in self.known.values() if not group.pending for number in group.numbers):
            there = PlanReview(self.target, self.target, "upgrade")
            shown.append({"databases": self._databases_text(idle), "plan": there.to_json()})
        return shown

    def _databases_text(self, numbers: Sequence[int]) -> str:
        return f"{self.listing.counted(len(numbers))} ({few(map(self.name, numbers), len(numbers), 3)})"


def revisions(counts: Mapping[str, int]) -> dict[str, int]:
    """Return how many databases are at each revision, the most first. Very many revisions share an entry."""
    ordered = Counter(counts).most_common()
    rest = sum(number for _, number in ordered[_MOST_REVISIONS:])
    return dict(ordered[:_MOST_REVISIONS]) | ({"others": rest} if rest else {})


def counts_text(counts: Mapping[str, int]) -> str:
    """Return the only revision of all databases, or how many databases are at each."""
    few_ = revisions(counts)
    return next(iter(few_)) if len(few_) == 1 else ", ".join(f"{id} ({number:,})" for id, number in few_.items())


def failures(found: Mapping[str, str], kind: Kind = Kind.DATABASE) -> list[str]:
    """Return the errors with their databases or schemas. Those with the same error share a line."""
    same: dict[str, list[str]] = {}
    for name, error in found.items():
        plain = _TIME.sub("…", error.replace(f'"{name}"', "…").replace(f"{kind} {name} ", f"{kind} … "))
        same.setdefault(plain, []).append(name)
    lines = []
    for text, names in list(same.items())[:_SHOWN]:
        who = names[0] if len(names) == 1 else f"{counted(len(names), kind)} ({few(names, len(names))})"
        example = found[names[0]] if len(names) == 1 else text
        lines.append(f"{who}: " + example.replace("\n", "\n  "))
    rest = sum(len(names) for names in list(same.values())[_SHOWN:])
    return lines + ([f"{counted(rest, kind)} more failed, in {len(same) - _SHOWN} other ways"] if rest else [])


def kept(found: Mapping[str, str]) -> dict[str, str]:
    """Return the errors that a state stores: those of the first databases, shortened."""
    return {name: " ".join(error.split())[:_TEXT] for name, error in list(found.items())[:_SHOWN]} | (
        {"…": f"{len(found) - _SHOWN:,} more"} if len(found) > _SHOWN else {}
    )


def _digest(value: Iterable[object] | Sequence[object], digits: int) -> str:
    return hashlib.sha256(json.dumps(list(value), sort_keys=True).encode()).hexdigest()[:digits]
