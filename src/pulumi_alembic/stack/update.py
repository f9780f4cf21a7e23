"""The update of one database: plan again under the migration lock, ask the gates, run, and read the revision again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from threading import Lock, Timer
from typing import TYPE_CHECKING, Any

from pulumi_alembic.backups.setting import When
from pulumi_alembic.database.connection import connect
from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.ledger import contract_policy
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.data_loss.settings import is_wanted
from pulumi_alembic.migrate.job import Gate, Job, Locks
from pulumi_alembic.review import build, lock_forecast, plan_text
from pulumi_alembic.review.gates import Gates, notes
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.scripts.history import BASE
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.stack import adopt, plugin_errors, proof, refresh, shown
from pulumi_alembic.stack.log import Log
from pulumi_alembic.stack.properties import DETAILS, ID, Properties, Wire

if TYPE_CHECKING:
    from pulumi_alembic.drift.baseline import DriftBaseline
    from pulumi_alembic.scripts.origin import Origin

__all__ = ["migrate", "rehearsed", "tell"]

rehearsed: dict[str, PlanReview | None] = {}
"""By URN, the review of the rehearsal in an update's check, for the update that follows in this process."""


def migrate(olds: Properties, news: Properties) -> Wire:
    """Bring the database to the target and return the outputs.

    Raises:
        HalfDone: A revision failed. The error carries the outputs at the revision that was reached.
        MigrationError: There is no plan, or a gate rejected it. No revision ran.

    """
    gates = news.gates
    gate = _Gate(news, news.job(news, news.reaches), gates, refresh.baseline(olds, news))
    outputs = news.without(Properties.adopts, *DETAILS) | {Properties.proof: news.proves}
    job = replace(gate.job, allow_data_loss=gates.may_lose)
    try:
        with closing(_Progress(news.urn, gate)) as progress:
            revision = migrator.migrate(job, gate, progress)
    except RevisionFailed as error:
        outputs |= {Properties.revision: error.revision, Properties.proof: proof.without(news.proves, gate.begun)}
        outputs |= {Properties.schema_fingerprint: gate.baseline.fingerprint}
        raise plugin_errors.HalfDone(str(error), ID, outputs) from None
    with connect(news.url or "") as connection:
        contract_policy.write(connection, gate.job.contracts.to_store if gate.job.contracts else "")
        connection.commit()
    outputs |= {Properties.proof: proof.with_windows(news.proves, gate.job)}
    outputs |= {Properties.drift_left: gate.baseline.drift} if gate.baseline.drift else {}
    return outputs | {Properties.revision: revision, Properties.schema_fingerprint: gate.baseline.fingerprint}


def tell(plan: Plan, review: PlanReview, inputs: Properties) -> None:
    """Print what the plan does."""
    backup = inputs.backup_setting
    reason = backup.reason(review)
    first = [f"Backup first, into {backup.folder}: {reason}"] if reason else []
    inputs.log.info("\n  ".join([str(plan), *first, *plan_text.summary(review)]))


@dataclass
class _Gate(Gate):
    """The gate of one update. `begun` is the last plan that it was asked about."""

    inputs: Properties
    job: Job
    gates: Gates
    baseline: DriftBaseline
    begun: Plan | None = field(default=None, init=False)
    _locks: Locks | None = field(default=None, init=False)

    def around(self) -> AbstractContextManager[object]:
        return adopt.first(self.inputs, self.job, self.baseline)

    def approve(self, plan: Plan) -> Mapping[str, Any]:
        self.begun = plan
        job = self.job
        context, review = build.review_from_database(job, self.inputs.lint_settings, keep=is_wanted(job.policy))
        review = _as_rehearsed(review, self.inputs.urn)
        if not self._is_shown(review, job):
            tell(plan, review, self.inputs)
        self.gates.check([review], review.digest, lambda: self._digest_of_empty(job))
        self.baseline.begin()
        self._locks = lambda: lock_forecast.of_review(review, context.catalog)
        return notes(review, self.job.contracts.reason if self.job.contracts else "")

    def locks(self) -> Locks | None:
        return self._locks

    def back_up(self, plan: Plan, origin: Origin) -> str:
        if self.inputs.backup_setting.when is When.NEVER:
            return ""
        from pulumi_alembic.backups.taking import Maker

        return Maker(self.inputs.backup_setting, self.job, self.inputs.log).back_up(plan, origin)

    def _is_shown(self, review: PlanReview, job: Job) -> bool:
        """Return whether the preview of this command printed the plan, and the rehearsal found nothing more."""
        if any(revision.rehearsed and revision.rehearsed.fails for revision in review.revisions):
            return False
        noted = shown.noted(self.inputs.urn)
        if not noted or noted == review.digest:
            return bool(noted)
        return review.origin == BASE and noted == self._digest_of_empty(job)

    def _digest_of_empty(self, job: Job) -> str:
        """Return the digest of the plan for an empty database, which a preview shows before the database exists."""
        empty = build.review_of_empty(job, self.inputs.lint_settings)
        return empty.digest if empty else ""


_PACE = 0.1
"""Seconds between two reports of progress. One report costs as much as a small revision."""


@dataclass
class _Progress(Log):
    """Reports the newest revision at intervals and at the end, such as `applied 20250126_003, 2 of 5`."""

    gate: _Gate
    _newest: str = field(default="", init=False)
    _reported: str = field(default="", init=False)
    _timer: Timer | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def applied(self, revision: str) -> None:
        plan = self.gate.begun
        assert plan is not None  # noqa: S101 - the gate let it pass
        done = "applied" if plan.direction is Direction.UPGRADE else "downgraded"
        self._newest = f"{done} {revision}, {plan.number(revision)} of {len(plan.steps)}"
        if self._timer is None:
            self._timer = Timer(_PACE, self._report)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        """End the reports with the last revision, so that the result of the step begins with it."""
        self._report()

    def _report(self) -> None:
        with self._lock:
            # Clear the timer first: a revision applied from now on needs a new one.
            self._timer = None
            newest = self._newest
            if newest != self._reported:
                self._reported = newest
                self.status(newest)


def _as_rehearsed(review: PlanReview, urn: str) -> PlanReview:
    """Return the review with the results of the rehearsal in this update's check, if the plan is the same."""
    seen = rehearsed.pop(urn, None)
    if seen is None or _steps(seen) != _steps(review):
        return review
    revisions = []
    for now, then in zip(review.revisions, seen.revisions, strict=True):
        # The measurements belong to the statements of the plan that was reviewed then.
        statements = then.statements if seen.digest == review.digest else now.statements
        revisions.append(replace(now, statements=statements, rehearsed=then.rehearsed))
    about = {"rehearsed": seen.rehearsed, "not_rehearsed": seen.not_rehearsed, "copied": seen.copied}
    return replace(review, **about, revisions=tuple(revisions))  # type: ignore[arg-type]


def _steps(review: PlanReview) -> tuple[object, ...]:
    return review.origin, review.direction, [(revision.id, revision.checksum) for revision in review.revisions]
