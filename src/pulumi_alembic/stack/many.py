"""What the provider does where a resource has many databases: the same calls, the same promises, one answer."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pulumi.dynamic import CheckFailure, CheckResult, ReadResult
from pulumi.output import Unknown

from pulumi_alembic.database.connection import NoLogin
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.fanout.job import Job
from pulumi_alembic.fanout.plan.databases import Listing, changes, databases
from pulumi_alembic.fanout.plan.groups import Groups, kept, revisions, told
from pulumi_alembic.fanout.rollout import roll_out
from pulumi_alembic.fanout.survey import judged, knock, survey
from pulumi_alembic.fanout.survey import read as read_all
from pulumi_alembic.fanout.worker_pool.pool import Crowd
from pulumi_alembic.migrate.data_loss.allowance import allowed
from pulumi_alembic.output.printable import printable
from pulumi_alembic.review import plan_text
from pulumi_alembic.review.gates import APPROVE, refuse_failed
from pulumi_alembic.stack import log, plugin_errors, shown
from pulumi_alembic.stack.databases import Many
from pulumi_alembic.stack.inputs import APPLIED, DETAILS, ID, Inputs, Properties

if TYPE_CHECKING:
    from pulumi_alembic.scripts.trust import Trust

__all__ = ["check", "migrate", "read"]

_OUTPUTS = ("revision", "revisions", "failures")

_FRESH = 30.0  # seconds
_seen: dict[str, tuple[float, object, Groups]] = {}


def check(olds: Properties, asked: Properties, kept_: Properties) -> CheckResult:
    """The inputs and the plan of all databases; a failure where one has none. Reads them, changes nothing.

    `asked` are the inputs, and `kept_` those that a state may hold.
    """
    try:
        inputs, many = Inputs.of(asked), Many(asked)
        trust = inputs.trust(olds)
        serial = int(olds.get("__serial") or 0)
        url, listing = _listing(many, inputs.url, olds.get("url"))
        if listing is None:
            unknown = {"plan": "the databases are not known yet", "__serial": serial + 1}
            return CheckResult({**kept_, **unknown}, [])
        with Crowd(_job(asked, inputs, url, trust)) as crowd:
            processes, known = many.waves.processes, url is not None
            look = survey if inputs.applying else partial(judged, tell=partial(log.status, urn=inputs.urn))
            groups = look(crowd, listing, inputs.target, processes, known=known)
    except MigrationError as error:
        # Without a property: an engine would print its value.
        return CheckResult(kept_, [CheckFailure("", str(error))])
    if inputs.applying and inputs.url == url:
        _seen[inputs.urn] = (time.monotonic(), (url, inputs.directory, listing), groups)
    applied = " ".join(sorted({pair for text in groups.applied for pair in text.split()}))
    adds: Properties = {"plan": printable(groups.plan), "__serial": serial + bool(groups.pending), APPLIED: applied}
    before = Many(olds).kept
    said = changes(before.names, listing.names) if before else []
    if groups.pending and not inputs.applying:
        adds |= _details(groups)
        _tell(groups, inputs.urn, said + _to_come(asked, listing, inputs.urn))
        shown.remember(groups.digest, inputs.urn)
    elif said and not inputs.applying:
        log.info("\n  ".join([groups.plan, *said]), inputs.urn)
    try:
        for account in groups.accounts:
            refuse_failed(account, log.command("up", inputs.urn))
    except MigrationError as error:
        return CheckResult(kept_, [CheckFailure("", str(error))])
    return CheckResult({**kept_, **many.adds(listing), **adds}, [])


def migrate(properties: Properties) -> Properties:
    """Bring all databases to the target, wave after wave. Raises HalfDone, with how far it is, behind a failed wave."""
    inputs, many = Inputs.of(properties), Many(properties)
    trust = inputs.trust(properties)
    listing = many.kept or many.listing(inputs.url)
    if listing is None or inputs.url is None:
        raise DatabaseError("the databases are not known, though the update is under way")
    outputs = {key: value for key, value in properties.items() if key not in (*DETAILS, *_OUTPUTS)}
    gates = inputs.gates(properties)

    def status(text: str) -> None:
        log.status(text, inputs.urn)

    def say(text: str) -> None:
        log.info(text, inputs.urn)

    with Crowd(_job(properties, inputs, inputs.url, trust)) as crowd:
        seen = _just_seen(inputs, listing)
        groups = judged(crowd, listing, inputs.target, many.waves.processes, status, seen=seen)
        if groups.pending:
            if not shown.is_shown(groups.digest, inputs.urn):
                _tell(groups, inputs.urn, [])
            gates.check(groups.accounts, groups.digest)
        outcome = roll_out(
            crowd, groups, many.waves, status, say, approved=gates.approved is not None, configure=gates.configure
        )
    counts = {id: number for id, number in outcome.counts.items() if number}
    outputs |= {"revision": told(counts), "revisions": revisions(counts), "failures": kept(outcome.failed)}
    if outcome.failed:
        raise plugin_errors.HalfDone(outcome.text(gates.up), ID, outputs)
    return outputs


def _just_seen(inputs: Inputs, listing: Listing) -> Groups | None:
    """What the check of this very update saw, once; each database's plan is looked at again under its lock."""
    at, of, groups = _seen.pop(inputs.urn, (0.0, None, None))
    same = of == (inputs.url, inputs.directory, listing) and groups is not None and groups.target == inputs.target
    return groups if same and time.monotonic() - at < _FRESH else None


def read(id_: str, properties: Properties) -> ReadResult:
    """What the databases say now, also those that came since; gone where there is none of them any more."""
    inputs, many = Inputs.of(properties), Many(properties)
    try:
        listing = many.listing(inputs.url)
        if listing is None:
            raise DatabaseError("the state does not say which databases there are")
        knock(inputs.url or "", listing)
        with Crowd(_job(properties, inputs, inputs.url, inputs.trust(properties))) as crowd:
            counts, wrong, gone = read_all(crowd, listing, many.waves.processes)
    except MigrationError as error:
        # Not a failure: the refresh may be the one that finds, and lets an update heal, what is in the way.
        log.warning(f"not read, the state keeps the last reading: {error}", inputs.urn)
        return ReadResult(id_, properties)
    if wrong:
        log.warning("not read, the state keeps the last reading:\n  " + "\n  ".join(kept(wrong)), inputs.urn)
        return ReadResult(id_, properties)
    if gone:
        log.warning(f"{databases(gone)} of {len(listing.names):,} are not there any more", inputs.urn)
    if not counts:
        return ReadResult("", {})
    now = many.adds(listing)
    base = {key: value for key, value in properties.items() if key not in (*_OUTPUTS, *DETAILS)} | now
    outputs = {**base, "revision": told(counts), "revisions": revisions(counts), "failures": {}}
    return ReadResult(id_, outputs, {**base, "target": told(counts), "plan": ""})


def _listing(many: Many, url: str | None, old: Any) -> tuple[str | None, Listing | None]:
    """The URL to ask at, None where there is none yet, and the databases; a login to come is taken for the old one."""
    at = url if url is not None else None if isinstance(old, Unknown) else old
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


def _job(properties: Mapping[str, Any], inputs: Inputs, url: str | None, trust: Trust) -> Job:
    return Job(
        url or "",
        str(inputs.directory),
        inputs.target,
        log.command("up", inputs.urn),
        log.stack(inputs.urn),
        inputs.admin,
        inputs.policy.settings,
        Job.lint_of(properties),
        Job.trust_of(trust),
        tuple(sorted(allowed(properties.get("__allow_data_loss") or ()))),
    )


def _details(groups: Groups) -> Properties:
    """What a preview shows of it, and what the report reads: every plan, with the databases that have it."""
    found = [group for group in groups.pending.values() if group.account]
    statements: dict[str, list[str]] = {}
    for group in found:
        assert group.account  # noqa: S101 - these have one
        for name, lines in plan_text.statements(group.account).items():
            statements.setdefault(name, lines)
    return {"digest": groups.digest, "statements": statements, "__plans": json.dumps(groups.to_json())}


def _tell(groups: Groups, urn: str, said: list[str]) -> None:
    log.info("\n  ".join([groups.plan, *said, *groups.summary(), f"Digest: {groups.digest}"]), urn)


def _to_come(asked: Properties, listing: Listing, urn: str) -> list[str]:
    """That nobody can approve now what runs in databases whose names are not known."""
    if not listing.to_come or not asked.get("require_approval"):
        return []
    up, look = log.command("up", urn), log.command("preview", urn)
    return [
        "the digest below will be another one, since an approval names each database, and "
        f"{listing.to_come:,} {'is' if listing.to_come == 1 else 'are'} still to come: `{up}` makes them, and ends "
        f"before it migrates; then `{look}` shows the digest for {APPROVE}=DIGEST {up}"
    ]
