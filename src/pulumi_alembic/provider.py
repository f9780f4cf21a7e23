"""The dynamic provider of `pulumi_alembic.Migrations`.

The dotted path of MigrationsProvider is written into every state file: it must stay importable, under this name, for
ever.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from pulumi_alembic.backups.setting import When
from pulumi_alembic.database.connection import NoDatabase
from pulumi_alembic.database.sessions import waits
from pulumi_alembic.errors import DatabaseError, MigrationError, PolicyError, RevisionFailed
from pulumi_alembic.migrate import migrator, planner
from pulumi_alembic.migrate.data_loss.setting import is_wanted
from pulumi_alembic.output.printable import printable
from pulumi_alembic.policy import Policy
from pulumi_alembic.review import build, plan_text, promotion_record
from pulumi_alembic.review.gates import refuse_failed
from pulumi_alembic.review.plan_review import Account
from pulumi_alembic.review.promotion_record import PROOF, PROVES
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.history import BASE
from pulumi_alembic.scripts.plan import Direction, revision_text
from pulumi_alembic.stack import adopt, check, log, plugin_errors, refresh, shown
from pulumi_alembic.stack.databases import LISTED, is_many
from pulumi_alembic.stack.inputs import (
    ADMIN,
    ADOPTS,
    APPLIED,
    APPLYING,
    DETAILS,
    DRIFT,
    FINGERPRINT,
    ID,
    INFRASTRUCTURE,
    Inputs,
    Properties,
)

if TYPE_CHECKING:
    from pulumi_alembic.scripts.origin import Origin
    from pulumi_alembic.scripts.plan import Plan
    from pulumi_alembic.scripts.trust import Trust

__all__ = ["DETAILS", "MigrationsProvider"]


_rehearsed: dict[str, Account | None] = {}
"""By URN, what the check of an update saw in the rehearsal, for the update that follows in this process."""

COMPARED = ("url", "directory", "__urn", INFRASTRUCTURE, "drift_ignore")
"""Inputs that are a change where they are others, whatever is planned."""


_Call = TypeVar("_Call", bound=Callable[..., Any])


def _waiting(call: _Call) -> _Call:
    """The call, whose sessions wait for a lock until the policy's `lock_deadline`, and tell the person for whom.

    Its last argument is the resource's properties.
    """

    @wraps(call)
    def waiting(*arguments: Any) -> Any:
        properties = arguments[-1]
        urn = str(properties.get("__urn") or "")
        try:
            policy = Policy.parse(properties.get("policy") or {})
        except PolicyError:
            # The call says so itself.
            policy = Policy()
        with waits(lambda text: log.info(text, urn), policy.lock_deadline):
            return call(*arguments)

    return cast("_Call", waiting)


class MigrationsProvider(ResourceProvider):
    """Stateless: what a call needs, it reads from its arguments and from the database.

    `check` adds to the inputs what the update will run: `plan`, in one line, in a preview DETAILS of it, and
    `__serial`, the number of plans so far that had anything to run. The serial of the outputs is that of the last plan
    that ran, so that `diff` can tell a plan that is still to run from one that has run: a refresh shows it the inputs
    of the last update, whose plan is done.
    """

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Called by the plugin once; from here on its errors are those of `plugin_errors`."""
        plugin_errors.install(sys.modules["__main__"])

    @_waiting
    def check(self, _olds: Properties, news: Properties) -> CheckResult:
        """The inputs and the plan; a failure where there is no plan. Reads the database, changes nothing."""
        asked, news = news, {key: value for key, value in news.items() if key not in (ADMIN, APPLYING)}
        if is_many(asked):
            from pulumi_alembic.stack import many

            return many.check(_olds, asked, news)
        try:
            inputs = Inputs.of(asked)
            adopted = adopt.find(inputs)
            inputs = replace(inputs, adopted=adopted.heads if adopted else ())
            looked, account = check.plan(inputs, _olds, inputs.trust(_olds))
            plan, lower = looked.plan, inputs.lint.lower
            # Those that go too: an update that fails on the way down is gone on with by what is known here.
            applied = trust.write([*plan.applied, *plan.steps])
            proofs = promotion_record.properties(_olds, looked, account, lower)
        except MigrationError as error:
            # Without a property: an engine would print its value.
            return CheckResult(news, [CheckFailure("", str(error))])
        serial = int(_olds.get("__serial") or 0) + bool(plan.steps)
        adds: Properties = {"plan": printable(str(plan)), "__serial": serial, APPLIED: applied, **proofs}
        if adopted:
            adds[ADOPTS] = {"revision": revision_text(adopted.heads), "digest": adopted.digest}
        if account and plan.steps and not inputs.applying:
            _tell(plan, account, inputs)
            shown.remember(account.digest, inputs.urn)
        try:
            if account:
                refuse_failed(account, log.command("up", inputs.urn))
        except MigrationError as error:
            return CheckResult(news, [CheckFailure("", str(error))])
        if inputs.applying:
            _rehearsed[inputs.urn] = account
            return CheckResult({**news, **adds}, [])
        for line in promotion_record.unproven(_olds, looked, lower):
            log.warning(line, inputs.urn)
        if account and plan.steps:
            adds |= {
                "digest": account.digest,
                "statements": plan_text.statements(account),
                "__plan": json.dumps(account.to_json()),
            }
        return CheckResult({**news, **adds}, [])

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> DiffResult:
        """A change where a plan is still to run, the last reading is not the target, or the login is another.

        Where the stack's other resources changed, and where a refresh found drift.

        And where the state knows less of what is applied than it could: a refresh would forget what only inputs know.
        """
        planned = _olds.get("__serial") != _news.get("__serial")
        elsewhere = _olds.get("revision") != _news.get("target")
        moved = any(_olds.get(key) != _news.get(key) for key in (*COMPARED, *LISTED))
        moved = moved or bool(_olds.get(DRIFT))
        known, applied = (trust.read(each.get(APPLIED) or "", "the stack's state") for each in (_olds, _news))
        return DiffResult(changes=planned or elsewhere or moved or not applied.keys() <= known.keys())

    @_waiting
    def create(self, props: Properties) -> CreateResult:
        """Bring the database to the target. An existing database is taken from where it is."""
        return CreateResult(ID, _migrate({}, props))

    @_waiting
    def update(self, _id: str, _olds: Properties, _news: Properties) -> UpdateResult:
        """Bring the database to the target, in whichever direction that is."""
        return UpdateResult(_migrate(_olds, _news))

    @_waiting
    def read(self, id_: str, props: Properties) -> ReadResult:
        """What the database says now, as it was where it cannot be asked; gone where there is no such database."""
        if is_many(props):
            from pulumi_alembic.stack import many

            return many.read(id_, props)
        inputs = Inputs.of(props)
        try:
            revision = planner.read_revision(inputs.url or "")
            seen = refresh.look(inputs, props)
        except NoDatabase:
            return ReadResult("", {})
        except DatabaseError as error:
            # Not a failure: the refresh may be the one that finds, and lets an update heal, what is in the way.
            log.warning(f"not read, the state keeps the last reading: {error}", inputs.urn)
            return ReadResult(id_, props)
        kept = {key: value for key, value in props.items() if key != DRIFT}
        outputs = {**kept, "revision": revision, **seen}
        if not props.get(PROOF) or revision != props.get("revision"):
            outputs[PROOF] = check.proof(inputs, revision, inputs.trust(props), props)
        asked = {key: value for key, value in kept.items() if key not in ("revision", FINGERPRINT, PROOF, *DETAILS)}
        found = {key: value for key, value in seen.items() if key == DRIFT}
        return ReadResult(id_, outputs, {**asked, "target": revision, "plan": "", **found})

    def delete(self, _id: str, _props: Properties) -> None:
        """Leaves the schema and every row as they are: only the stack forgets them."""


def _tell(plan: Plan, account: Account, inputs: Inputs) -> None:
    reason = inputs.backup.reason(account)
    first = [f"Backup first, into {inputs.backup.folder}: {reason}"] if reason else []
    log.info("\n  ".join([str(plan), *first, *plan_text.summary(account)]), inputs.urn)


def _is_shown(account: Account, inputs: Inputs, vouched: Trust) -> bool:
    """Whether the preview of this command has printed the plan, and its rehearsal found no more than that did."""
    if any(each.rehearsed and each.rehearsed.fails for each in account.revisions):
        return False
    if shown.is_shown(account.digest, inputs.urn):
        return True
    return account.origin == BASE and shown.is_shown(_digest_of_empty(inputs, account.target, vouched), inputs.urn)


def _progress(plan: Plan, revision: str) -> str:
    """`applied 20250126_003, 2 of 5`."""
    done = "applied" if plan.direction is Direction.UPGRADE else "downgraded"
    ids = [step.id for step in plan.steps]
    return f"{done} {revision}, {ids.index(revision) + 1} of {len(ids)}"


def _as_rehearsed(account: Account, urn: str) -> Account:
    """The account with what the check of this update saw, if the plan is still that one."""
    seen = _rehearsed.pop(urn, None)
    if seen is None or _steps(seen) != _steps(account):
        return account
    revisions = []
    for now, then in zip(account.revisions, seen.revisions, strict=True):
        # What was measured is that of the plan as it was judged then.
        statements = then.statements if seen.digest == account.digest else now.statements
        revisions.append(replace(now, statements=statements, rehearsed=then.rehearsed))
    return replace(account, rehearsed=seen.rehearsed, not_rehearsed=seen.not_rehearsed, revisions=tuple(revisions))


def _steps(account: Account) -> tuple[object, ...]:
    return account.origin, account.direction, [(each.id, each.checksum) for each in account.revisions]


def _digest_of_empty(inputs: Inputs, target: str, vouched: Trust) -> str:
    """The digest of the plan as it was for a database to come: as good as its own while the database holds nothing."""
    empty = build.account_of_empty(inputs.url or "", inputs.directory, target, inputs.lint, vouched)
    return empty.digest if empty else ""


def _back_up(
    inputs: Inputs, vouched: Trust, on_status: Callable[[str], None], say: Callable[[str], None]
) -> Callable[[Plan, Origin], str]:
    if inputs.backup.when is When.NEVER:
        return lambda plan, origin: ""
    from pulumi_alembic.backups.taking import Maker

    return Maker(inputs.backup, inputs.url or "", inputs.directory, inputs.policy, on_status, say, vouched)


def _migrate(olds: Properties, properties: Properties) -> Properties:
    if is_many(properties):
        from pulumi_alembic.stack import many

        return many.migrate(properties)
    inputs = Inputs.of(properties)
    vouched = inputs.trust(properties)
    outputs = {key: value for key, value in properties.items() if key not in (ADOPTS, *DETAILS)}
    outputs[PROOF] = properties.get(PROVES) or ""
    keeper = refresh.keeper(inputs, olds, properties)
    gates = inputs.gates(properties)

    begun: list[Plan] = []

    def approve(plan: Plan) -> Mapping[str, Any]:
        begun.append(plan)
        _, account = build.account_from_database(
            inputs.url or "", inputs.directory, plan.target, inputs.lint, vouched, keep=is_wanted(inputs.policy)
        )
        account = _as_rehearsed(account, inputs.urn)
        if not _is_shown(account, inputs, vouched):
            _tell(plan, account, inputs)
        gates.check([account], account.digest, lambda: _digest_of_empty(inputs, account.target, vouched))
        keeper.begin()
        return promotion_record.notes(account)

    def on_applied(revision: str) -> None:
        log.status(_progress(begun[-1], revision), inputs.urn)

    def on_status(text: str) -> None:
        log.status(text, inputs.urn)

    def on_wait(text: str) -> None:
        log.info(text, inputs.urn)

    try:
        revision = migrator.migrate(
            inputs.url or "",
            inputs.directory,
            inputs.target,
            command=gates.up,
            on_applied=on_applied,
            on_status=on_status,
            on_wait=on_wait,
            policy=inputs.policy,
            approve=approve,
            allow_data_loss=gates.may_lose,
            stack=log.stack(inputs.urn),
            back_up=_back_up(inputs, vouched, on_status, on_wait),
            trust=vouched,
            on_kept=on_wait,
            around=adopt.first(inputs, properties, keeper),
        )
    except RevisionFailed as error:
        proof = promotion_record.without(outputs[PROOF], begun[-1] if begun else None)
        left = {"revision": error.revision, FINGERPRINT: keeper.fingerprint, PROOF: proof}
        raise plugin_errors.HalfDone(str(error), ID, {**outputs, **left}) from None
    return {**outputs, "revision": revision, FINGERPRINT: keeper.fingerprint}
