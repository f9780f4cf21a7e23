"""The waves of an update: the canary first, and none behind one that failed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pulumi_alembic.fanout.plan.databases import databases
from pulumi_alembic.fanout.plan.groups import Groups, failures
from pulumi_alembic.fanout.plan.waves import Waves
from pulumi_alembic.fanout.worker_pool.pool import Crowd
from pulumi_alembic.review.promotion_record import notes

__all__ = ["Outcome", "roll_out"]

_SHOWN = 5
"""Errors that are told in full."""

_SAY = 1.0  # seconds between two texts


@dataclass
class Outcome:
    """How many databases are at which revision, `failed` with their errors, and how many were left for later."""

    counts: Counter[str]
    failed: dict[str, str] = field(default_factory=dict)
    wave: str = ""
    waiting: int = 0

    def text(self, command: str) -> str:
        """What happened, on what, and what to do next."""
        left = f"{databases(self.waiting)} behind it {'was' if self.waiting == 1 else 'were'} left as they are"
        lines = [f"{self.wave}: {databases(len(self.failed))} failed" + (f", and {left}" if self.waiting else "")]
        lines += [f"  {line}" for each in failures(self.failed)[:_SHOWN] for line in each.splitlines()]
        lines.append(f"next: correct what was in the way, then run `{command}`: it goes on with what is not there yet")
        return "\n".join(lines)


def roll_out(
    crowd: Crowd,
    groups: Groups,
    waves: Waves,
    status: Callable[[str], None],
    say: Callable[[str], None],
    *,
    approved: bool,
    configure: str,
) -> Outcome:
    """Migrate what is pending, wave after wave in the order of the listing, until one has failed.

    The others of that wave end whole. `say` is told how the first one ended, and the last, and whom a
    database waits for, and `status` what goes on.
    Where what runs was `approved`, nothing else runs. `configure` is the command for lint.
    """
    keys = {number: key for key, group in groups.pending.items() for number in group.numbers}
    counts = Counter({group.origin: len(group.numbers) for group in groups.known.values()})
    outcome = Outcome(counts)
    planned = list(waves.of(sorted(keys)))
    left = len(keys)
    judged = {"approved": approved, "configure": configure}
    kept_in_ledger = {key: notes(group.account) if group.account else {} for key, group in groups.pending.items()}
    for number, wave in enumerate(planned, 1):
        name = f"wave {number} of {len(planned)}" + (", the canary" if number == 1 else "")
        items = [
            (groups.name(each), {**judged, "key": keys[each], "notes": kept_in_ledger[keys[each]]}) for each in wave
        ]

        def hear(text: str, lasting: bool = False, name: str = name) -> None:
            (say if lasting else status)(f"{name}: {text}")

        _run(crowd, groups, wave, items, waves.processes, outcome, hear)
        left -= len(wave)
        outcome.failed = {
            groups.name(each): outcome.failed[groups.name(each)] for each in wave if groups.name(each) in outcome.failed
        }
        if outcome.failed:
            outcome.wave, outcome.waiting = f"{name}, {databases(len(wave))}", left
            return outcome
        (say if number in (1, len(planned)) else status)(f"{name}: {databases(len(wave))} at {groups.target}")
    return outcome


def _run(
    crowd: Crowd,
    groups: Groups,
    wave: Sequence[int],
    items: list[tuple[str, dict[str, object]]],
    processes: int,
    outcome: Outcome,
    hear: Callable[..., None],
) -> None:
    told = time.monotonic()
    origins = {number: group.origin for group in groups.known.values() for number in group.numbers}
    answers = crowd.run("migrate", items, processes, lambda at, text, lasting: hear(f"{items[at][0]}: {text}", lasting))
    for done, (place, answer) in enumerate(answers, 1):
        origin = origins[wave[place]]
        if "error" in answer:
            outcome.failed[items[place][0]] = answer["error"]
        if time.monotonic() - told > _SAY:
            told = time.monotonic()
            hear(f"{done} of {databases(len(wave))}")
        outcome.counts[origin] -= 1
        outcome.counts[answer.get("revision") or origin] += 1
