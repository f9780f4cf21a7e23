"""Run the waves of an update, the canary first. By default no wave begins after a failed one."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from textwrap import indent
from typing import Any

from pulumi_alembic.fanout.plan.databases import Kind
from pulumi_alembic.fanout.plan.groups import Groups, failures
from pulumi_alembic.fanout.plan.waves import Waves
from pulumi_alembic.fanout.worker_pool.pool import WorkerPool
from pulumi_alembic.migrate.job import Listener
from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.gates import Gates, notes

__all__ = ["Outcome", "Rollout"]

_SHOWN = 5
"""How many errors are printed in full."""

_SAY = 1.0  # seconds between two reports


@dataclass
class Outcome:
    """The result of the waves.

    Attributes:
        counts: How many databases are at each revision.
        failed: The errors by database.
        wave: The wave that failed. Empty if none did.
        waiting: How many databases are in later waves, which did not begin.
        kind: What is counted, databases or schemas.

    """

    counts: Counter[str]
    kind: Kind
    failed: dict[str, str] = field(default_factory=dict)
    wave: str = ""
    waiting: int = 0

    def text(self, command: str) -> str:
        """Return what failed, and that `command` continues."""
        left = f"{counted(self.waiting, self.kind)} after it {'was' if self.waiting == 1 else 'were'} not changed"
        lines = [
            f"{self.wave}: {counted(len(self.failed), self.kind)} failed" + (f", and {left}" if self.waiting else "")
        ]
        lines += [indent(failure, "  ") for failure in failures(self.failed, self.kind)[:_SHOWN]]
        lines.append(
            f"Fix the cause, then run it again; it continues with the {self.kind}s that are left:\n  {command}"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class Rollout:
    """Migrates the pending databases or schemas in waves, in the order of the listing, until a wave fails."""

    pool: WorkerPool
    groups: Groups
    waves: Waves
    listener: Listener
    gates: Gates
    contract: str = ""

    def run(self) -> Outcome:
        """Run the waves. If a database fails, the others of its wave are completed.

        No later wave begins then, unless the waves go on after an error.

        The listener's `waits` receives the results of the first and last wave, and waits for locks. Its `status`
        receives the progress. If the stack requires an approval, only the approved plans run.
        """
        groups = self.groups
        keys = {number: key for key, group in groups.pending.items() for number in group.numbers}
        kind = groups.listing.kind
        outcome = Outcome(Counter(group.origin for group in groups.known.values() for _ in group.numbers), kind)
        planned = list(self.waves.of(sorted(keys)))
        left = len(keys)
        judged = {"approved": self.gates.approved is not None, "configure": self.gates.configure}
        kept_in_ledger = {
            key: notes(group.review, self.contract) if group.review else {} for key, group in groups.pending.items()
        }
        for number, wave in enumerate(planned, 1):
            name = f"wave {number} of {len(planned)}" + (", the canary" if number == 1 else "")
            items = {
                database: (
                    groups.name(database),
                    {**judged, "key": keys[database], "notes": kept_in_ledger[keys[database]]},
                )
                for database in wave
            }
            failed = self._run(name, items, outcome.counts)
            left -= len(wave)
            of_wave = f"{name}, {counted(len(wave), kind)}"
            outcome.failed |= {groups.name(database): failed[database] for database in wave if database in failed}
            if failed and not self.waves.goes_on:
                outcome.wave, outcome.waiting = of_wave, left
                return outcome
            tell = self.listener.waits if failed or number in (1, len(planned)) else self.listener.status
            if failed:
                outcome.wave = f"all {len(planned)} waves, {counted(len(keys), kind)}"
                tell(f"{of_wave}: {counted(len(failed), kind)} failed, going on (on_error)")
            else:
                tell(f"{name}: {counted(len(wave), kind)} at {groups.reached}")
        return outcome

    def _run(self, wave: str, items: Mapping[int, tuple[str, Any]], counts: Counter[str]) -> dict[int, str]:
        """Migrate these databases, and update the counts. Return the errors by number."""
        reported, failed = time.monotonic(), {}
        numbers = list(items)
        origins = {number: group.origin for group in self.groups.known.values() for number in group.numbers}

        def hear(place: int, text: str, lasting: bool) -> None:
            tell = self.listener.waits if lasting else self.listener.status
            tell(f"{wave}: {items[numbers[place]][0]}: {text}")

        answers = self.pool.run("migrate", [*items.values()], self.waves.processes, hear)
        for done, (place, answer) in enumerate(answers, 1):
            number = numbers[place]
            if "error" in answer:
                failed[number] = answer["error"]
            if time.monotonic() - reported > _SAY:
                reported = time.monotonic()
                self.listener.status(f"{wave}: {done} of {counted(len(items), self.groups.listing.kind)}")
            counts[origins[number]] -= 1
            counts[answer.get("revision") or origins[number]] += 1
        return failed
