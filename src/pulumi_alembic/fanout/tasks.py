"""What is done to one database of a fan-out, in a process that does one database after the other.

An answer is JSON values. A task raises MigrationError for what can go wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_alembic.database.connection import connect
from pulumi_alembic.errors import DatabaseError, Moved, NotApproved
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.data_loss.setting import is_wanted
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.fanout.job import Job
    from pulumi_alembic.review.plan_review import Account
    from pulumi_alembic.scripts.origin import Origin
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

    job: Job
    history: History
    origin: Origin | None = None
    told: set[str] = field(default_factory=set)


def look(bench: Bench, name: str | None, _: Any, tell: Tell) -> Answer:
    """The plan: its key, and its details where they were not told yet. None is a database to come."""
    job = bench.job
    if name is None:
        plan = planner.look_at_nothing(job.folder, job.target).plan
    else:
        with connect(job.url_of(name)) as connection:
            connection.autocommit = True
            _refuse_template(connection)
            plan = planner.look_over(connection, lambda: bench.history, job.target, trust=job.trust).plan
    key = _key(plan)
    if key in bench.told:
        return {"key": key}
    bench.told.add(key)
    applied = trust.write([*plan.applied, *plan.steps])
    at = revision_text(plan.current)
    return {"key": key, "plan": {"origin": at, "text": str(plan), "pending": bool(plan.steps), "applied": applied}}


def read(bench: Bench, name: str | None, _: Any, tell: Tell) -> Answer:
    """The revision that the database says it is at."""
    return {"revision": planner.read_revision(bench.job.url_of(name or ""))}


def account(bench: Bench, name: str | None, key: Any, tell: Tell) -> Answer:
    """The account of the plan whose key this is, made on this database. Raises Moved where it has another by now."""
    from pulumi_alembic.review import build

    job = bench.job
    if name is None:
        looked, found = build.account_from_base(job.folder, job.target, job.settings)
    else:
        url = job.url_of(name)
        looked, found = build.account_from_database(
            url, job.folder, job.target, job.settings, job.trust, admin=job.admin, tell=tell
        )
    if _key(looked.plan) != key:
        raise Moved(f"another migration changed it while this looked. Begin again: {job.command}")
    return {"account": found.to_json()}


def losses(bench: Bench, name: str | None, document: Any, tell: Tell) -> Answer:
    """What each revision of the account would take away here, and not keep."""
    from pulumi_alembic.review.build import with_losses
    from pulumi_alembic.review.plan_review import Account

    job = bench.job
    found = with_losses(Account.from_json(document), job.url_of(name or ""), is_wanted(job.waits))
    return {"losses": {each.id: list(each.losses) for each in found.revisions if each.losses}}


def migrate(bench: Bench, name: str | None, expected: Any, tell: Tell) -> Answer:
    """Bring the database to the target. `expected` has the plan's key, and says whether another may run in its place.

    What the plan with that key does was judged before. Another one, where somebody else migrated meanwhile, is judged
    here as a single database's is, unless what runs needs an approval.
    """
    from pulumi_alembic.migrate import migrator
    from pulumi_alembic.review.promotion_record import notes

    job = bench.job
    url = job.url_of(name or "")

    def approve(plan: Plan) -> Mapping[str, Any]:
        if _key(plan) == expected["key"]:
            return dict(expected["notes"])
        if expected["approved"]:
            raise NotApproved(
                f"what would run is not what was approved: the database has moved since, {plan}. Look at it, and "
                "approve what is left"
            )
        return notes(_judge(bench, url, plan, expected["configure"]))

    revision = migrator.migrate(
        url,
        job.folder,
        job.target,
        command=job.command,
        on_status=tell,
        on_wait=partial(tell, lasting=True),
        policy=job.waits,
        approve=approve,
        allow_data_loss=frozenset(job.may_lose),
        stack=job.stack,
        trust=job.trust,
        origin=bench.origin,
        history=bench.history,
    )
    return {"revision": revision}


TASKS: Mapping[str, Callable[[Bench, str | None, Any, Tell], Answer]] = {
    "look": look,
    "read": read,
    "account": account,
    "losses": losses,
    "migrate": migrate,
}

HEAVY = ("account", "migrate")
"""The tasks that need Alembic."""


def load(bench: Bench) -> None:
    """Load what HEAVY tasks need, the project's env.py and what it imports too; what fails here, they tell."""
    from contextlib import suppress

    import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

    from pulumi_alembic.migrate import alembic_run, migrator  # noqa: F401
    from pulumi_alembic.scripts.origin import Origin

    bench.origin = bench.origin or Origin.of(bench.job.folder, bench.job.stack)
    with suppress(Exception):
        alembic_run.enter(bench.history, lambda metadata: None)


def _judge(bench: Bench, url: str, plan: Plan, configure: str) -> Account:
    from pulumi_alembic.review import build
    from pulumi_alembic.review.gates import Gates

    job = bench.job
    _, found = build.account_from_database(
        url, job.folder, plan.target, job.settings, job.trust, admin=job.admin, keep=is_wanted(job.waits)
    )
    Gates(job.command, configure, frozenset(job.may_lose)).check([found], found.digest)
    return found


def _refuse_template(connection: Connection) -> None:
    row = connection.execute("SELECT datistemplate FROM pg_database WHERE datname = current_database()").fetchone()
    if row == (True,):
        raise DatabaseError(
            "it is a template, of which the server makes new databases, and is migrated by no stack. Take it out of "
            "the list, or: ALTER DATABASE … IS_TEMPLATE false"
        )


def _key(plan: Plan) -> str:
    """Two databases with the same key run the same scripts from the same revision."""
    steps = [[step.id, step.checksum, step.is_capsule] for step in plan.steps]
    text = json.dumps([plan.current, plan.target, plan.direction, steps])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
