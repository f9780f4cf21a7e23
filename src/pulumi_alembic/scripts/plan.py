"""The plan: which revisions one update runs, in which direction. Pure functions without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from pulumi_alembic.errors import TargetError
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts.baseline import Baseline
from pulumi_alembic.scripts.history import BASE, History
from pulumi_alembic.scripts.revision import Revision

__all__ = ["Direction", "Plan", "plan", "revision_text", "with_baseline"]


class Direction(StrEnum):
    """The direction of a step. The values are the names of the functions in a script."""

    UPGRADE = "upgrade"
    DOWNGRADE = "downgrade"

    @classmethod
    def of(cls, *, is_upgrade: bool) -> Direction:
        """Return the direction of a step of Alembic."""
        return cls.UPGRADE if is_upgrade else cls.DOWNGRADE


@dataclass(frozen=True)
class Plan:
    """The `steps` that bring a database from the heads `current` to `target`, in order.

    Attributes:
        target: a revision id, several joined by `+`, or `base`.
        applied: all revisions that are applied afterwards.
        waits: pending revisions that do not run, and what each waits for: held contracts, and merges of these.
        baseline: what an empty database starts from. The steps that it covers do not run.

    """

    current: tuple[str, ...]
    target: str
    direction: Direction
    steps: tuple[Revision, ...]
    applied: tuple[Revision, ...] = ()
    waits: Mapping[str, str] = field(default_factory=dict)
    baseline: Baseline | None = None

    def __str__(self) -> str:
        """Return one line, such as `20250126_002 → 20250126_003, 1 upgrade`."""
        held = f"{counted(len(self.waits), 'revision')} held" if self.waits else ""
        if not self.steps:
            return f"at {revision_text(self.current)}: {held or 'nothing pending'}"
        runs = counted(len(self.steps), self.direction)
        if self.baseline:
            rest = f", then {counted(len(self.rest.steps), 'revision')}" if self.rest.steps else ""
            runs = f"starts from the {self._baseline_text}{rest}"
        return f"{revision_text(self.current)} → {self.target}, {runs}{held and f'; {held}'}"

    @property
    def held_lines(self) -> list[str]:
        """One line per waiting revision, such as `20260301_005 waits until 2026-03-02 10:00 UTC`."""
        return [f"{id} waits {until}" for id, until in self.waits.items()]

    @property
    def lines(self) -> list[str]:
        """One line for the baseline, and one per step that runs: direction, revision id and message."""
        first = [self._baseline_text] if self.baseline else []
        return first + [f"{self.direction} {step.id} {step.message}".rstrip() for step in self.rest.steps]

    @cached_property
    def covered(self) -> frozenset[str]:
        """The ids of the steps that do not run, because the baseline contains what they build."""
        if self.baseline is None:
            return frozenset()
        down = {step.id: step.down_revisions for step in self.steps}
        covered, pending = set(), [self.baseline.revision]
        while pending:
            if (id := pending.pop()) not in covered:
                covered.add(id)
                pending += down[id]
        return frozenset(covered)

    @cached_property
    def rest(self) -> Plan:
        """The plan that remains after the baseline. The plan itself if it has none."""
        if self.baseline is None:
            return self
        steps = tuple(step for step in self.steps if step.id not in self.covered)
        return replace(self, current=(self.baseline.revision,), steps=steps, baseline=None)

    @property
    def _baseline_text(self) -> str:
        assert self.baseline is not None  # noqa: S101 - the caller asked
        return f"baseline of {self.baseline.revision} ({counted(len(self.covered), 'revision')})"

    def number(self, id: str) -> int:
        """Return the position of a revision among the steps, from 1."""
        return self._numbers[id]

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {step.id: number for number, step in enumerate(self.steps, 1)}

    def require_upgrade(self) -> None:
        """Raise TargetError, with the command to use, if the plan is a downgrade."""
        if self.steps and self.direction is Direction.DOWNGRADE:
            raise TargetError(f"{self.target} is older than the database ({self}).\n  alembic downgrade {self.target}")


def plan(history: History, current: Sequence[str], target: str) -> Plan:
    """Return the plan from the heads `current` to `target`, which is an id or `base`.

    It upgrades by the missing revisions, or downgrades by the surplus ones. Upgrades come after all that they build on,
    downgrades before.

    Raises:
        TargetError: a head is not in the history, or the target is on another branch.
        HistoryError: a missing revision declares an invalid phase.

    """
    for head in current:
        history.require_script(head, f"the database is at revision {head}")
        if head not in history.revisions:
            raise TargetError(
                f"the database is at revision {head}, which the scripts here do not have. "
                f"Check out the commit that has it: git log --all -- '*{head}*'"
            )
    history.require_script(target, f"there is no script of revision {target}")
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
        # Read it here, so that an invalid phase is an error before anything runs.
        _ = revision.phase
    direction = Direction.DOWNGRADE if surplus else Direction.UPGRADE
    reached = tuple(history.revisions[id] for id in ancestors)
    return Plan(tuple(sorted(current)), target, direction, surplus or missing, reached)


def with_baseline(steps: Plan, history: History) -> Plan:
    """Return the plan of an empty database with the newest baseline that only covers its steps, if there is one.

    A held revision is not a step. A baseline that contains it is not used.
    """
    if steps.current or steps.direction is Direction.DOWNGRADE:
        return steps
    pending = {step.id for step in steps.steps}
    within = [id for id in history.revisions if id in history.baselines and pending.issuperset(history.ancestors([id]))]
    return replace(steps, baseline=history.baselines[within[-1]]) if within else steps


def revision_text(heads: Sequence[str]) -> str:
    """Return a database's heads as one word: `base` if there are none, otherwise joined by `+`."""
    return "+".join(sorted(heads)) or BASE
