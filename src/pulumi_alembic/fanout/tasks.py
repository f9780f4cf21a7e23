"""The tasks of a worker process for one database or schema of a fan-out.

A task returns JSON values. It raises MigrationError for errors of normal use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from psycopg import sql

from pulumi_alembic.database.connection import VERSION_SCHEMA, connect, read_heads
from pulumi_alembic.database.tenant import schema_of, version_table
from pulumi_alembic.errors import DatabaseError, Moved, NotApproved
from pulumi_alembic.fanout.plan.databases import Kind
from pulumi_alembic.ledger import contract_policy, ledger
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.data_loss.settings import is_wanted
from pulumi_alembic.migrate.job import Gate, Listener
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.fanout.job import FanoutJob
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import PlanContext
    from pulumi_alembic.review.plan_review import PlanReview
    from pulumi_alembic.scripts.plan import Plan

__all__ = ["HEAVY", "TASKS", "Bench", "Tell", "load"]

Answer = dict[str, Any]


class Tell(Protocol):
    """Reports progress in one line. A `lasting` line is shown after the run too."""

    def __call__(self, text: str, *, lasting: bool = False) -> None:
        """Report it."""


@dataclass
class Bench:
    """The state of a worker process between two databases. It holds what is the same for all databases.

    `told` are the keys of plans whose details this batch has already returned.
    """

    job: FanoutJob
    told: set[str] = field(default_factory=set)

    def review(self, job: Job, tell: Tell, *, keep: bool = False) -> tuple[PlanContext, PlanReview]:
        """Return the plan of one database, and its review."""
        from pulumi_alembic.review import build

        return build.review_from_database(job, self.job.lint, admin=self.job.admin, tell=tell, keep=keep)


def alike(bench: Bench, _: str | None, names: Any, tell: Tell) -> Answer:
    """Return the groups of tenants that one plan is enough for, by their numbers."""
    from pulumi_alembic.fanout import alike as tenants

    job = bench.job.job
    return {"groups": tenants.alike(job.url, names, job.read_history())}


def look(bench: Bench, name: str | None, _: Any, tell: Tell) -> Answer:
    """Return the key of the plan, with its details at the first time.

    Args:
        bench: The state of this process.
        name: The database. None for a database that does not exist yet.
        _: Not used.
        tell: Reports the progress.

    Raises:
        MigrationError: There is no plan. Nothing was changed.

    """
    if name is None:
        plan = planner.plan_context_from_base(bench.job.job).plan
    else:
        job = bench.job.of(name)
        with connect(job.url) as connection:
            connection.autocommit = True
            _refuse_unfit(bench, connection)
            plan = planner.plan_context_over(connection, job.read_history, job).plan
    key = _key(plan)
    if key in bench.told:
        return {"key": key}
    bench.told.add(key)
    applied = trust.write([*plan.applied, *plan.steps])
    at = revision_text(plan.current)
    details = {"origin": at, "text": str(plan), "pending": bool(plan.steps), "applied": applied}
    return {"key": key, "plan": details | {"reaches": plan.target, "held": dict(plan.waits)}}


def read(bench: Bench, name: str | None, _: Any, tell: Tell) -> Answer:
    """Return the revision of the database."""
    return {"revision": planner.read_revision(bench.job.of(name or "").url)}


def review(bench: Bench, name: str | None, key: Any, tell: Tell) -> Answer:
    """Return the review of a plan, made on this database.

    Args:
        bench: The state of this process.
        name: The database. None for a database that does not exist yet.
        key: The key of the plan.
        tell: Reports the progress.

    Raises:
        Moved: The database has another plan by now.
        MigrationError: The plan cannot be reviewed. Nothing was changed.

    """
    from pulumi_alembic.review import build

    if name is None:
        context, review = build.review_from_base(bench.job.job, bench.job.lint)
    else:
        context, review = bench.review(bench.job.of(name), tell)
    if bench.job.kind is Kind.SCHEMA:
        from pulumi_alembic.review.tenant_plan import refuse_unfit

        refuse_unfit(review, bench.job.job.url if name else "")
    if _key(context.plan) != key:
        raise Moved(f"another migration changed it during the plan. Run it again: {bench.job.job.command}")
    return {"review": review.to_json()}


def losses(bench: Bench, name: str | None, document: Any, tell: Tell) -> Answer:
    """Return what each revision of the review would delete here without preserving it."""
    from pulumi_alembic.review.build import with_losses
    from pulumi_alembic.review.plan_review import PlanReview

    job = bench.job.of(name or "")
    review = with_losses(PlanReview.from_json(document), job.url, is_wanted(job.policy))
    return {"losses": {revision.id: list(revision.losses) for revision in review.revisions if revision.losses}}


def migrate(bench: Bench, name: str | None, expected: Any, tell: Tell) -> Answer:
    """Bring the database to the target.

    A plan with the expected key was reviewed before. If another migration has changed the database, the new plan is
    reviewed here, unless an approval is required.

    Args:
        bench: The state of this process.
        name: The database.
        expected: The plan's key, its notes for the ledger, whether an approval is required, and the command for rules.
        tell: Reports the progress.

    Raises:
        NotApproved: The plan is not the approved one. Nothing was changed.
        MigrationError: As `migrator.migrate` raises it.

    """
    from pulumi_alembic.migrate import migrator

    job = bench.job.of(name or "")
    revision = migrator.migrate(job, _AsJudged(bench, job, expected), _Forwarding(tell))
    if job.contracts is not None and bench.job.kind is Kind.DATABASE:
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
    "alike": alike,
    "look": look,
    "read": read,
    "review": review,
    "losses": losses,
    "migrate": migrate,
}

HEAVY = ("review", "migrate")
"""The tasks that need Alembic."""


def load(bench: Bench) -> None:
    """Load what HEAVY tasks need, with the project's env.py and its imports. A task reports an error of env.py."""
    from contextlib import suppress

    import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

    from pulumi_alembic.migrate import alembic_run, migrator  # noqa: F401

    job = bench.job.job
    job = replace(job, origin=job.origin.completed(job.directory))
    bench.job = replace(bench.job, job=job)
    with suppress(Exception):
        alembic_run.enter(job.read_history(), lambda metadata: None)


def _refuse_unfit(bench: Bench, connection: Connection) -> None:
    if bench.job.kind is Kind.SCHEMA:
        _refuse_new(connection)
        return
    row = connection.execute("SELECT datistemplate FROM pg_database WHERE datname = current_database()").fetchone()
    if row == (True,):
        raise DatabaseError(
            "it is a template, of which the server makes new databases, and is migrated by no stack. Take it out of "
            "the list, or: ALTER DATABASE … IS_TEMPLATE false"
        )


_IS_EMPTY = """
SELECT NOT EXISTS (SELECT FROM pg_depend
    WHERE refclassid = 'pg_namespace'::regclass AND refobjid = n.oid AND deptype = 'n')
FROM pg_namespace n WHERE nspname = %s
"""


def _refuse_new(connection: Connection) -> None:
    """Refuse a tenant's schema that was dropped and created again, whose version table is that of the old one."""
    schema, heads = schema_of(connection), read_heads(connection)
    if heads and connection.execute(_IS_EMPTY, [schema]).fetchone() == (True,) and ledger.has_built(connection):
        table = sql.Identifier(VERSION_SCHEMA, version_table(schema)).as_string(None)
        raise DatabaseError(
            f'the schema "{schema}" is empty, though {revision_text(heads)} is applied. If it was created again, begin '
            f"at base: DROP TABLE {table}"
        )


def _key(plan: Plan) -> str:
    """Return the key of a plan. Databases with the same key run the same scripts from the same revision."""
    steps = [[step.id, step.checksum, step.is_stored] for step in plan.steps]
    baseline = plan.baseline.checksum if plan.baseline else ""
    text = json.dumps([plan.current, plan.target, plan.direction, steps, baseline])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
