"""What is done to one database of a fan-out, in a process that does one database after the other.

An answer is JSON values. A task raises MigrationError for what can go wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_alembic.database.connection import connect
from pulumi_alembic.errors import DatabaseError, Moved, NotApproved
from pulumi_alembic.ledger import contract_policy
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.data_loss.settings import is_wanted
from pulumi_alembic.migrate.job import Gate, Listener
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.fanout.job import FanoutJob
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import Looked
    from pulumi_alembic.review.plan_review import PlanReview
    from pulumi_alembic.scripts.plan import Plan

__all__ = ["HEAVY", "TASKS", "Bench", "Tell", "load"]

Answer = dict[str, Any]


class Tell(Protocol):
    """Tells in one line what goes on; `lasting` is what is to be read afterwards too."""

    def __call__(self, text: str, *, lasting: bool = False) -> None:
        """Tell it."""


@dataclass
class Bench:
    """What a process keeps from one database to the next: what is the same for all is read once.

    `told` are the plans whose details the reader of this batch knows.
    """

    job: FanoutJob
    told: set[str] = field(default_factory=set)

    def review(self, job: Job, tell: Tell, *, keep: bool = False) -> tuple[Looked, PlanReview]:
        """The plan of one database, and its review."""
        from pulumi_alembic.review import build

        return build.review_from_database(job, self.job.lint, admin=self.job.admin, tell=tell, keep=keep)


def look(bench: Bench, name: str | None, _: Any, tell: Tell) -> Answer:
    """The plan: its key, and its details where they were not told yet. None is a database to come."""
    if name is None:
        plan = planner.look_at_nothing(bench.job.job).plan
    else:
        job = bench.job.of(name)
        with connect(job.url) as connection:
            connection.autocommit = True
            _refuse_template(connection)
            plan = planner.look_over(connection, job.read_history, job).plan
    key = _key(plan)
    if key in bench.told:
        return {"key": key}
    bench.told.add(key)
    applied = trust.write([*plan.applied, *plan.steps])
    at = revision_text(plan.current)
    details = {"origin": at, "text": str(plan), "pending": bool(plan.steps), "applied": applied}
    return {"key": key, "plan": details | {"reaches": plan.target, "held": dict(plan.waits)}}


def read(bench: Bench, name: str | None, _: Any, tell: Tell) -> Answer:
    """The revision that the database says it is at."""
    return {"revision": planner.read_revision(bench.job.of(name or "").url)}


def review(bench: Bench, name: str | None, key: Any, tell: Tell) -> Answer:
    """The review of the plan whose key this is, made on this database. Raises Moved where it has another by now."""
    from pulumi_alembic.review import build

    if name is None:
        looked, review = build.review_from_base(bench.job.job, bench.job.lint)
    else:
        looked, review = bench.review(bench.job.of(name), tell)
    if _key(looked.plan) != key:
        raise Moved(f"another migration changed it during the plan. Run it again: {bench.job.job.command}")
    return {"review": review.to_json()}


def losses(bench: Bench, name: str | None, document: Any, tell: Tell) -> Answer:
    """What each revision of the review would delete here, and not keep."""
    from pulumi_alembic.review.build import with_losses
    from pulumi_alembic.review.plan_review import PlanReview

    job = bench.job.of(name or "")
    review = with_losses(PlanReview.from_json(document), job.url, is_wanted(job.policy))
    return {"losses": {revision.id: list(revision.losses) for revision in review.revisions if revision.losses}}


def migrate(bench: Bench, name: str | None, expected: Any, tell: Tell) -> Answer:
    """Bring the database to the target. `expected` has the plan's key, and says whether another may run in its place.

    What the plan with that key does was judged before. Another one, where somebody else migrated meanwhile, is judged
    here as a single database's is, unless what runs needs an approval.
    """
    from pulumi_alembic.migrate import migrator

    job = bench.job.of(name or "")
    revision = migrator.migrate(job, _AsJudged(bench, job, expected), _Forwarding(tell))
    if job.contracts is not None:
        with connect(job.url) as connection:
            contract_policy.write(connection, job.contracts.to_store)
            connection.commit()
    return {"revision": revision}


@dataclass(frozen=True)
class _AsJudged(Gate):
    bench: Bench
    job: Job
    expected: Mapping[str, Any]

    def approve(self, plan: Plan) -> Mapping[str, Any]:
        from pulumi_alembic.review.gates import Gates, notes

        if _key(plan) == self.expected["key"]:
            return dict(self.expected["notes"])
        if self.expected["approved"]:
            raise NotApproved(
                f"the plan is not the one that was approved: the database has moved since, {plan}. Review it, and "
                "approve the rest"
            )
        _, review = self.bench.review(self.job, lambda text, lasting=False: None, keep=is_wanted(self.job.policy))
        Gates(self.job.command, self.expected["configure"], self.job.allow_data_loss).check([review], review.digest)
        return notes(review)


@dataclass(frozen=True)
class _Forwarding(Listener):
    tell: Tell

    def status(self, text: str) -> None:
        self.tell(text)

    def waits(self, text: str) -> None:
        self.tell(text, lasting=True)

    backfill = waits


TASKS: Mapping[str, Callable[[Bench, str | None, Any, Tell], Answer]] = {
    "look": look,
    "read": read,
    "review": review,
    "losses": losses,
    "migrate": migrate,
}

HEAVY = ("review", "migrate")
"""The tasks that need Alembic."""


def load(bench: Bench) -> None:
    """Load what HEAVY tasks need, the project's env.py and what it imports too; what fails here, they tell."""
    from contextlib import suppress

    import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

    from pulumi_alembic.migrate import alembic_run, migrator  # noqa: F401

    job = bench.job.job
    job = replace(job, origin=job.origin.completed(job.directory))
    bench.job = replace(bench.job, job=job)
    with suppress(Exception):
        alembic_run.enter(job.read_history(), lambda metadata: None)


def _refuse_template(connection: Connection) -> None:
    row = connection.execute("SELECT datistemplate FROM pg_database WHERE datname = current_database()").fetchone()
    if row == (True,):
        raise DatabaseError(
            "it is a template, of which the server makes new databases, and is migrated by no stack. Take it out of "
            "the list, or: ALTER DATABASE … IS_TEMPLATE false"
        )


def _key(plan: Plan) -> str:
    """Two databases with the same key run the same scripts, or start from the same baseline, at the same revision."""
    steps = [[step.id, step.checksum, step.is_stored] for step in plan.steps]
    baseline = plan.baseline.checksum if plan.baseline else ""
    text = json.dumps([plan.current, plan.target, plan.direction, steps, baseline])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
