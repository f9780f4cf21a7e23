"""The provider's check, update and read for a resource with many databases or schemas."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pulumi.dynamic import ReadResult

from pulumi_alembic.database.connection import NoLogin
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.fanout.job import FanoutJob
from pulumi_alembic.fanout.plan.databases import Kind, Listing, changes
from pulumi_alembic.fanout.plan.groups import Groups, counts_text, kept, revisions
from pulumi_alembic.fanout.rollout import Rollout
from pulumi_alembic.fanout.survey import judged, knock, survey
from pulumi_alembic.fanout.survey import read as read_all
from pulumi_alembic.fanout.worker_pool.pool import WorkerPool
from pulumi_alembic.migrate.data_loss.settings import allowed
from pulumi_alembic.output.printable import printable
from pulumi_alembic.review import plan_text
from pulumi_alembic.review.gates import APPROVE, refuse_failed
from pulumi_alembic.stack import plugin_errors, shown
from pulumi_alembic.stack.databases import Many
from pulumi_alembic.stack.log import Log
from pulumi_alembic.stack.properties import DETAILS, ID, Properties, Wire
from pulumi_alembic.stack.tenant_drift import TenantDrift

__all__ = ["check", "migrate", "read"]

_OUTPUTS = (Properties.revision, Properties.revisions, Properties.failures)

_FRESH = 30.0  # seconds
_decided: dict[str, str] = {}
"""By URN, the time as of which the check of an update decided which contracts are due."""

_seen: dict[str, tuple[float, object, Groups]] = {}


def check(olds: Properties, asked: Properties) -> Wire:
    """Return the properties that describe what an update will run. Reads all databases and changes nothing.

    Args:
        olds: The inputs of the last update.
        asked: The inputs that the program registers now.

    Raises:
        MigrationError: One database has no plan, or a rehearsal failed. Nothing was changed.

    """
    many, log = Many(asked), asked.log
    url, listing = _listing(many, asked.url, olds.url)
    if listing is None:
        return {Properties.plan: f"the {many.kind}s are not known yet", Properties.serial: olds.serial + 1}
    # A contract that is due since the preview of this command waits for the next one.
    noted = shown.noted_target(asked.urn) if asked.applying else ""
    as_of = noted or datetime.now(UTC).isoformat()
    _decided[asked.urn] = as_of
    with WorkerPool(_job(asked, olds, url, as_of)) as pool:
        processes, url_known = many.waves.processes, url is not None
        look = survey if asked.applying else partial(judged, tell=log.status)
        groups = look(pool, listing, processes, known=url_known)
    if asked.applying and asked.url == url:
        _seen[asked.urn] = (time.monotonic(), (url, asked.directory, listing), groups)
    applied = " ".join(sorted({pair for text in groups.applied for pair in text.split()}))
    adds: Wire = {Properties.plan: printable(groups.plan), Properties.applied: applied}
    adds[Properties.serial] = olds.serial + bool(groups.pending)
    if (groups.pending or groups.held) and not asked.applying:
        shown.remember(groups.digest, asked.urn, as_of)
    if groups.held:
        adds |= {Properties.effective_target: groups.reached, Properties.held: groups.held}
    before = Many(olds).kept
    parts = changes(before.names, listing.names) if before else []
    if groups.pending and not asked.applying:
        adds |= _details(groups)
        _tell(groups, log, parts + _to_come(asked, listing))
    elif parts and not asked.applying:
        log.info("\n  ".join([groups.plan, *parts]))
    for review in groups.reviews:
        refuse_failed(review, log.command("up"))
    return many.adds(listing) | adds


def migrate(properties: Properties) -> Wire:
    """Bring all databases to the target, one wave after the other.

    Raises:
        HalfDone: Databases of a wave failed. No later wave began. The error carries the revisions of all databases.
        MigrationError: A gate rejected a plan. Nothing was changed.

    """
    many, log = Many(properties), properties.log
    job = _job(properties, properties, properties.url, _decided.pop(properties.urn, ""))
    listing = many.kept or many.listing(properties.url)
    if listing is None or properties.url is None:
        raise DatabaseError(f"the {many.kind}s are not known, though the update is under way")
    gates = properties.gates
    with WorkerPool(job) as pool:
        latest = _just_seen(properties, listing)
        groups = judged(pool, listing, many.waves.processes, log.status, seen=latest)
        if groups.pending:
            if shown.noted(properties.urn) != groups.digest:
                _tell(groups, log, [])
            gates.check(groups.reviews, groups.digest)
        reason, drift = properties.contracts.reason, TenantDrift(properties, listing)
        if groups.pending:
            drift.begin()
        outcome = Rollout(pool, groups, many.waves, log, gates, contract=reason).run()
    left = drift.end()
    counts = {id: number for id, number in outcome.counts.items() if number}
    outputs = properties.without(*DETAILS) | _outputs(counts, kept(outcome.failed))
    outputs |= {Properties.drift_left: left} if left else {}
    if outcome.failed:
        raise plugin_errors.HalfDone(outcome.text(gates.up), ID, outputs)
    return outputs


def _outputs(counts: dict[str, int], failed: Any) -> Wire:
    return {
        Properties.revision: counts_text(counts),
        Properties.revisions: revisions(counts),
        Properties.failures: failed,
    }


def _just_seen(inputs: Properties, listing: Listing) -> Groups | None:
    """Return what the check of this update read, at most once. Each database's plan is read again under its lock."""
    at, of, groups = _seen.pop(inputs.urn, (0.0, None, None))
    same = of == (inputs.url, inputs.directory, listing) and groups is not None and groups.target == inputs.target
    return groups if same and time.monotonic() - at < _FRESH else None


def read(id_: str, state: Properties) -> ReadResult:
    """Return what the databases contain now, including databases that the query lists since the last update.

    A resource whose databases are all gone is deleted from the state. If one cannot be read, warn and return the state.
    """
    many, log, properties = Many(state), state.log, dict(state.wire)
    try:
        listing = many.listing(state.url)
        if listing is None:
            raise DatabaseError(f"the state does not say which {many.kind}s there are")
        knock(state.url or "", listing)
        with WorkerPool(_job(state, state, state.url)) as pool:
            counts, wrong, gone = read_all(pool, listing, many.waves.processes)
        drift = {} if wrong else TenantDrift(state, listing).look()
    except MigrationError as error:
        # A warning and no failure: this refresh can itself reveal the problem that the next update repairs.
        log.warning(f"not read, the state keeps the last reading: {error}")
        return ReadResult(id_, properties)
    if wrong:
        log.warning("not read, the state keeps the last reading:\n  " + "\n  ".join(kept(wrong)))
        return ReadResult(id_, properties)
    if gone:
        log.warning(f"{listing.counted(gone)} of {len(listing.names):,} are not there any more")
    if not counts:
        return ReadResult("", {})
    base = state.without(*_OUTPUTS, *DETAILS) | many.adds(listing)
    decided = (Properties.effective_target, Properties.held, Properties.drift, Properties.drift_left)
    base = {key: value for key, value in base.items() if key not in decided}
    reading: Wire = {Properties.drift: drift} if drift else {}
    inputs = {**base, Properties.target: counts_text(counts), Properties.plan: "", **reading}
    return ReadResult(id_, base | _outputs(counts, {}) | reading, inputs)


def _listing(many: Many, url: str | None, old: str | None) -> tuple[str | None, Listing | None]:
    """Return the URL to read with, None if there is none yet, and the databases.

    If the server does not know the login of `url` yet, `old` is used.
    """
    at = url if url is not None else old
    try:
        listing = many.listing(at)
        if at is not None and listing is not None and listing.names:
            knock(at, listing)
        return at, listing
    except NoLogin:
        if not old or old == at:
            raise
        listing = many.listing(old)
        if listing is not None and listing.names:
            knock(old, listing)
        return old, listing


def _job(properties: Properties, known: Properties, url: str | None, as_of: str = "") -> FanoutJob:
    may_lose = allowed(properties.allow_data_loss)
    contracts = replace(properties.contracts, as_of=datetime.fromisoformat(as_of) if as_of else None)
    job = replace(properties.job(known), url=url or "", allow_data_loss=may_lose, contracts=contracts)
    kind, shared = Many(properties).kind, properties.shared_schemas
    # A baseline names the schemas of the database that it was written from.
    job = replace(job, baselines=job.baselines and kind is Kind.DATABASE)
    return FanoutJob(job, properties.lint_settings, properties.rehearse_with, kind, shared)


def _details(groups: Groups) -> Wire:
    """Return the details of a preview, which the report reads too: every plan, with the databases that have it."""
    reviewed = [group for group in groups.pending.values() if group.review]
    statements: dict[str, list[str]] = {}
    for group in reviewed:
        assert group.review  # noqa: S101 - these have one
        for name, lines in plan_text.statements(group.review).items():
            statements.setdefault(name, lines)
    return {
        Properties.digest: groups.digest,
        Properties.statements: statements,
        Properties.reviews: json.dumps(groups.to_json()),
    }


def _tell(groups: Groups, log: Log, said: list[str]) -> None:
    log.info("\n  ".join([groups.plan, *said, *groups.summary(), f"Digest: {groups.digest}"]))


def _to_come(asked: Properties, listing: Listing) -> list[str]:
    """Warn that the digest will change, if an approval is required and some databases have no names yet."""
    if not listing.to_come or not asked.require_approval:
        return []
    up, look = asked.log.command("up"), asked.log.command("preview")
    return [
        "the digest below will be another one, since an approval names each database, and "
        f"{listing.to_come:,} {'is' if listing.to_come == 1 else 'are'} still to come: `{up}` makes them, and ends "
        f"before it migrates; then `{look}` shows the digest for {APPROVE}=DIGEST {up}"
    ]
