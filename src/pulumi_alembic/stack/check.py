"""The check of a resource: its plan and, in a preview, the plan's review, even while the login does not exist yet."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pulumi_alembic.database.connection import NoDatabase, NoLogin
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.data_loss.settings import is_wanted
from pulumi_alembic.output.printable import printable
from pulumi_alembic.review import build, plan_text
from pulumi_alembic.review.gates import refuse_failed
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.plan import revision_text
from pulumi_alembic.stack import adopt, proof, shown, update
from pulumi_alembic.stack.properties import Properties, Wire

if TYPE_CHECKING:
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import PlanContext
    from pulumi_alembic.review.plan_review import PlanReview

__all__ = ["check", "plan"]


def check(olds: Properties, inputs: Properties) -> Wire:
    """Return the properties that describe what an update will run.

    A preview also adds the plan's details and prints them. An update prints them later, under the migration lock.

    Args:
        olds: The inputs of the last update.
        inputs: The inputs that the program registers now.

    Raises:
        MigrationError: There is no plan, or a check of the plan failed. Nothing was changed.

    """
    log = inputs.log
    adopted = adopt.find(inputs)
    # A contract that is due since the preview of this command waits for the next one.
    job = inputs.job(olds, shown.noted_target(inputs.urn) if inputs.applying else "")
    job = replace(job, adopted=adopted.heads if adopted else ())
    context, review = plan(inputs, olds, job)
    steps, lower = context.plan, inputs.lint_settings.lower
    # With the steps of a downgrade: if it fails half-way, the next run still needs their digests.
    applied = trust.write([*steps.applied, *steps.steps])
    adds: Wire = {
        Properties.plan: printable(str(steps)),
        Properties.serial: olds.serial + bool(steps.steps),
        Properties.applied: applied,
        **proof.properties(olds, context, review, lower),
    }
    if steps.waits:
        adds |= {Properties.effective_target: steps.target, Properties.held: dict(steps.waits)}
    if adopted:
        adds[Properties.adopts] = {"revision": revision_text(adopted.heads), "digest": adopted.digest}
    if review and (steps.steps or steps.waits) and not inputs.applying:
        update.tell(steps, review, inputs)
        shown.remember(review.digest, inputs.urn, steps.target)
    if review:
        refuse_failed(review, log.command("up"))
    if inputs.applying:
        update.rehearsed[inputs.urn] = review
        return adds
    for line in proof.unproven(olds, context, lower):
        log.warning(line)
    if review and steps.steps:
        adds[Properties.digest] = review.digest
        adds[Properties.statements] = plan_text.statements(review)
        adds[Properties.review] = json.dumps(review.to_json())
    return adds


def plan(inputs: Properties, olds: Properties, job: Job) -> tuple[PlanContext, PlanReview | None]:
    """Return the plan from the database's revision, and its review.

    The review is None in an update, which makes its own under the migration lock. An update that rehearses has one: it
    names the statements that fail and the downgrades that restore the schema. If the program or the server does not
    know the new login yet, the database is read with the login of `olds`.

    Args:
        inputs: The inputs that the program registers now.
        olds: The inputs of the last update.
        job: The parameters of the run.

    Raises:
        MigrationError: There is no plan. Nothing was changed.

    """
    if inputs.url is None:
        return _plan_unknown(inputs, olds, job)
    try:
        return _review(inputs, job)
    except NoLogin as error:
        old_url = olds.url
        if old_url is None or old_url == inputs.url or _database(old_url) != _database(inputs.url):
            raise NoLogin(f"{error}. {_advice(inputs, old_url)}") from None
        return _review(inputs, replace(job, url=old_url))
    except NoDatabase as error:
        advice = f"If it was dropped outside of the stack: {inputs.log.command('refresh')}, then try again"
        raise NoDatabase(f"{error}. {advice}") from None


def _advice(inputs: Properties, old_url: str | None) -> str:
    """Return what to do if the server rejects the login.

    A refresh cannot help if the stack's former server is gone: it would ask that server.
    """
    before, now = (_address(url) for url in (old_url or inputs.url, inputs.url))
    if before == now:
        return (
            "If the role or its password was changed outside of the stack, set them back as the stack has them; if "
            f"they were dropped: {inputs.log.command('refresh')}, then try again"
        )
    configure = "unset PGHOST, which names this one" if os.environ.get("PGHOST") else "configure its address"
    return "\n  ".join(
        [
            f"The stack's database was on the server at {before}, and this server is at {now}.",
            f"If that server still runs, {configure}. Otherwise delete its resources from the state:",
            inputs.log.command("state delete --all --force --yes"),
            inputs.log.command("up --yes"),
        ]
    )


def _address(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.hostname}:{parts.port or 5432}"


def _plan_unknown(inputs: Properties, olds: Properties, job: Job) -> tuple[PlanContext, PlanReview | None]:
    """Plan without a login: for the existing database with its former login, otherwise for an empty database."""
    current: tuple[str, ...] = ()
    try:
        if olds.url:
            return _review(inputs, replace(job, url=olds.url))
    except NoLogin:
        if target := olds.target:
            current = (target,)
            inputs.log.info(
                f"the server refuses the former login: the plan begins at {target}, where the last update ended"
            )
    except DatabaseError:
        inputs.log.info("the database cannot be asked yet: the plan is for an empty one")
    return build.review_from_base(job, inputs.lint_settings, current)


def _review(inputs: Properties, job: Job) -> tuple[PlanContext, PlanReview | None]:
    if inputs.applying:
        context = planner.read_plan_context(job)
        if not inputs.rehearse_with or not context.plan.steps:
            planner.refuse_unfit(context.plan, job.url)
            return context, None
    return build.review_from_database(
        job, inputs.lint_settings, admin=inputs.rehearse_with, tell=inputs.log.status, keep=is_wanted(job.policy)
    )


def _database(url: str) -> tuple[object, ...]:
    parts = urlsplit(url)
    return parts.hostname, parts.port, parts.path
