"""Which revisions one update runs, in which direction. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from pulumi_alembic.errors import TargetError
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts.history import BASE, History
from pulumi_alembic.scripts.revision import Revision

__all__ = ["Direction", "Plan", "plan", "revision_text"]


class Direction(StrEnum):
    """The way a revision is run; the values are the names of the functions in a script."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"

    @classmethod
    def of(cls, *, is_upgrade: bool) -> Direction:
        """That of a step of Alembic's."""
        return cls.UPGRADE if is_upgrade else cls.DOWNGRADE


@dataclass(frozen=True)
class Plan:
    """Running `steps` in order brings a database whose heads are `current` to `target`, and nothing else runs.

    `applied` is all that is applied then. What `waits` is pending and does not run: contracts that are held, and
    merges, each with what it waits for.
    """

    current: tuple[str, ...]
    target: str
    direction: Direction
    steps: tuple[Revision, ...]
    applied: tuple[Revision, ...] = ()
    waits: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line: `20250126_002 → 20250126_003, 1 upgrade`."""
        held = f"{counted(len(self.waits), 'revision')} held" if self.waits else ""
        if not self.steps:
            return f"at {revision_text(self.current)}: {held or 'nothing pending'}"
        number = len(self.steps)
        return f"{revision_text(self.current)} → {self.target}, {counted(number, self.direction)}{held and f'; {held}'}"

    @property
    def held_lines(self) -> list[str]:
        """One line per revision that waits: `20260301_005 waits until 2026-03-02 10:00 UTC`."""
        return [f"{id} waits {until}" for id, until in self.waits.items()]

    @property
    def lines(self) -> list[str]:
        """One line per step: direction, revision id and message."""
        return [f"{self.direction} {step.id} {step.message}".rstrip() for step in self.steps]

    def number(self, id: str) -> int:
        """Which of the steps a revision is, from 1."""
        return self._numbers[id]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {step.id: number for number, step in enumerate(self.steps, 1)}

    def require_upgrade(self) -> None:
        """Raises TargetError, with the command that goes there, if the plan is a downgrade."""
        if self.steps and self.direction is Direction.DOWNGRADE:
            raise TargetError(f"{self.target} is older than the database ({self}).\n  alembic downgrade {self.target}")


def plan(history: History, current: Sequence[str], target: str) -> Plan:
    """The plan from the heads `current` to `target`, an id or `base`: up by the missing, or down by the surplus.

    Raises TargetError where a head is not in the history, or where the target lies on another branch, and HistoryError
    where a missing revision has a phase that there is not. Upward steps come after all they build on, downward ones
    before.
    """
    for head in current:
        if head not in history.revisions:
            raise TargetError(
                f"the database is at revision {head}, which the scripts here do not have. "
                f"Check out the commit that has it: git log --all -- '*{head}*'"
            )
    ancestors = () if target == BASE else history.ancestors([target])
    applied = history.ancestors(current)
    present, targets = set(applied), set(ancestors)
    missing = tuple(history.revisions[id] for id in ancestors if id not in present)
    surplus = tuple(history.revisions[id] for id in reversed(applied) if id not in targets)
    if missing and surplus:
        raise TargetError(
            f"revision {target} is on another branch than {revision_text(current)}. "
            f"Go to their common ancestor first, or to a revision that joins them"
        )
    for revision in missing:
        # Read here, so that a wrong one is an error before anything runs.
        _ = revision.phase
    direction = Direction.DOWNGRADE if surplus else Direction.UPGRADE
    reached = tuple(history.revisions[id] for id in ancestors)
    return Plan(tuple(sorted(current)), target, direction, surplus or missing, reached)


def revision_text(heads: Sequence[str]) -> str:
    """A database's heads as one word: `base` if there are none, joined by `+` where they are several."""
    return "+".join(sorted(heads)) or BASE
