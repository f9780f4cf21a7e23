"""The account of a plan: what its revisions send, and what that does to the database as it is now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.database.measuring import measuring
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.ledger import integrity
from pulumi_alembic.migrate import planner
from pulumi_alembic.output.redact import redact
from pulumi_alembic.output.wording import few
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.review.plan_review import Account, Finding, RevisionAccount, StatementAccount
from pulumi_alembic.review.unmet import with_unmet
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, plan, revision_text
from pulumi_alembic.scripts.revision import CONTRACT

if TYPE_CHECKING:
    from pulumi_alembic.migrate.job import Job
    from pulumi_alembic.migrate.planner import Looked
    from pulumi_alembic.review.lint.plan import PlanLint
    from pulumi_alembic.review.rehearsal.artifact import Artifact
    from pulumi_alembic.review.rendering import Rendered
    from pulumi_alembic.scripts.plan import Plan
    from pulumi_alembic.sql.catalog import Catalog, Measure, Models

__all__ = ["account_from_artifact", "account_from_base", "account_from_database", "account_of", "with_losses"]


def account_from_database(
    job: Job,
    lint: Settings,
    *,
    admin: str = "",
    tell: Callable[[str], None] = lambda text: None,
    keep: bool = False,
) -> tuple[Looked, Account]:
    """What the plan is from where the database is now, and its account. Raises as `planner.plan_from_database` does.

    With the URL of an `admin` of the server it is rehearsed, which `tell` is told; its digest is the same. Where
    downgrades `keep` what they take away, it says what is kept, and what that costs.
    """
    looked = planner.look_closely(job, catalog=True)
    with ExitStack() as stack:
        rehearse: Callable[[Account], Account] = lambda account: account  # noqa: E731
        if admin and looked.plan.steps:
            from pulumi_alembic.review.rehearsal import rehearsal

            rehearse = stack.enter_context(rehearsal(job.url, admin, looked, tell))
        planner.refuse_unfit(looked.plan, job.url)
        measure = stack.enter_context(measuring(job.url))
        account = account_of(looked, lint, database(job.url), measure=measure)
        account = with_unmet(with_losses(account, job.url, keep), job.url)
        return looked, _with_ways_back(rehearse(account), looked.history, lint)


def _with_ways_back(account: Account, history: History, lint: Settings) -> Account:
    """The account with a finding for each revision whose downgrade was rehearsed and does not restore the schema.

    The finding stands with what the rehearsal showed: an update that does not rehearse has the same digest.
    """
    severity = lint.severity("irreversible-downgrade")
    if severity is None or account.direction != Direction.UPGRADE or not account.rehearsed:
        return account
    from pulumi_alembic.review.lint.exceptions import Excuses

    revisions = []
    for each in account.revisions:
        if (seen := each.rehearsed) and (seen.left or seen.way_back.startswith("fails: ")):
            script = history.revisions[each.id]
            reasons = [one.reason for one in Excuses(script.source).all if one.rule == "irreversible-downgrade"]
            what = f"downgrade() {_left(seen.left) or seen.way_back}"
            suggestion = "# in downgrade(): undo the rest of what upgrade() does"
            reason = redact(reasons[0]) if reasons else ""
            finding = Finding("irreversible-downgrade", severity, f"in the rehearsal {what}", suggestion, reason)
            each = replace(each, rehearsed=replace(seen, findings=(finding,)))
        revisions.append(each)
    return replace(account, revisions=tuple(revisions))


def _left(lines: Sequence[str], shown: int = 3) -> str:
    """What a downgrade leaves and does not restore, by the lines of the catalog that are there or missing after it."""
    names: dict[str, list[str]] = {"+": [], "-": []}
    for line in lines:
        sign, kind, name = line.split(" ", 3)[:3]
        # With an object come its owner and its privileges.
        names[sign] += [f"{kind} {name}"] if kind not in ("owner", "privileges") or len(lines) == 1 else []
    said = []
    for verb, found in (("leaves", names["+"]), ("does not restore", names["-"])):
        said += [f"{verb} {few(found, shown)}"] if found else []
    return " and ".join(said) or (f"changes {' '.join(lines[0].split(' ', 3)[1:3])}" if lines else "")


def account_from_base(job: Job, lint: Settings, current: Sequence[str] = ()) -> tuple[Looked, Account]:
    """As `account_from_database`, for a database that cannot be asked: it does not exist yet, or was at `current`."""
    looked = planner.look_at_nothing(job, current)
    planner.refuse_unfit(looked.plan, None)
    return looked, account_of(looked, lint)


def account_from_artifact(
    artifact: Artifact, directory: Path, target: str, admin: str = "", tell: Callable[[str], None] = lambda text: None
) -> Account:
    """As `account_from_database`, for a database as an `artifact` describes it; it is not asked.

    With the URL of an `admin` of any server the plan is rehearsed there. Raises HistoryError and TargetError as
    `planner.look_closely` does, and MigrationError if the catalog in the artifact is none.
    """
    from pulumi_alembic.review.rows_at_risk import at_risk_by_statistics

    looked = _look(artifact, directory, target)
    planner.refuse_unfit(looked.plan, None)
    lint = Settings()
    account = account_of(looked, lint, artifact.address)
    if looked.catalog and account.revisions:
        losses = at_risk_by_statistics(account, looked.catalog)
        account = replace(account, revisions=tuple(replace(each, losses=losses[each.id]) for each in account.revisions))
    if admin and account.revisions:
        from pulumi_alembic.review.rehearsal import rehearsal_elsewhere

        with rehearsal_elsewhere(artifact, admin, looked, tell) as rehearse:
            account = _with_ways_back(rehearse(account), looked.history, lint)
    return replace(account, as_of=artifact.written)


def _look(artifact: Artifact, directory: Path, target: str) -> Looked:
    from pulumi_alembic.sql.catalog import Catalog

    history = History.load(directory)
    integrity.check_runs(history, artifact.heads, artifact.runs)
    history.require_manifest()
    steps = plan(history, artifact.heads, history.resolve(target))
    try:
        return planner.Looked(steps, history, Catalog.of(artifact.catalog), artifact.server)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MigrationError("its catalog is not what pulumi-alembic schema writes") from None


def account_of_empty(job: Job, lint: Settings) -> Account | None:
    """The account as a preview makes it before there is a database; None where anything is in the one there is."""
    looked = planner.look_closely(job, catalog=True)
    there = looked.catalog.relations if looked.catalog else ()
    if looked.plan.current or any(not name.startswith(f"{VERSION_SCHEMA}.") for name in there):
        return None
    return account_of(planner.Looked(looked.plan, looked.history), lint)


def account_of(
    looked: Looked,
    lint: Settings,
    database: str = "",
    *,
    static: bool = False,
    measure: Measure = lambda table: None,
) -> Account:
    """What the steps of the plan do to what the catalog describes, and what lint finds in that.

    `static` where the catalog is that of no database, and no table's size is known. `measure` tells the size of a
    table that the statistics know nothing of.

    Raises HistoryError as `rendering.render` does, and MigrationError where squawk cannot be run.
    """
    plan, catalog = looked.plan, looked.catalog
    about = {"held": tuple(plan.held_lines), "phased": lint.phased}
    account = Account(revision_text(plan.current), plan.target, plan.direction, database, **about)  # type: ignore[arg-type]
    if not plan.steps:
        return account
    from pulumi_alembic.review.lint.linter import Linter
    from pulumi_alembic.review.lint.plan import PlanLint
    from pulumi_alembic.review.rendering import render
    from pulumi_alembic.sql.catalog import Catalog
    from pulumi_alembic.sql.tables import tables

    models: list[Models] = []
    rendered = render(plan, looked.history, models.append)
    texts = tuple(sql for each in rendered for sql, _ in each.statements)
    linter = Linter(lint, catalog, plan.direction, texts, static, measure)
    known = not any(each.runs_python for each in rendered)
    linted = PlanLint.of(linter, plan, looked.history, models, known=known, server=looked.server)
    revisions, after = _revisions(plan, rendered, catalog, linted)
    return replace(account, revisions=revisions, tables=tables(catalog or Catalog(), after or Catalog()))


def with_losses(account: Account, url: str, keep: bool) -> Account:
    """The account with how much of what is there now it takes away or, where downgrades `keep` that, sets aside."""
    if not account.revisions:
        return account
    from pulumi_alembic.review.rows_at_risk import at_risk, with_kept

    risks = at_risk(url, account, apart=keep)
    texts = {id: tuple(each.text for each in found) for id, found in risks.items()}
    revisions = (replace(each, losses=texts.get(each.id, ())) for each in account.revisions)
    return with_kept(replace(account, revisions=tuple(revisions)), url, risks if keep else {})


def database(url: str) -> str:
    """`HOST:PORT/NAME`."""
    parts = urlsplit(url)
    [host, *_] = parse_qs(parts.query).get("host", ["localhost"])
    return f"{parts.hostname or host}:{parts.port or 5432}{parts.path}"


def _revisions(
    plan: Plan, rendered: tuple[Rendered, ...], catalog: Catalog | None, linted: PlanLint
) -> tuple[tuple[RevisionAccount, ...], Catalog | None]:
    """The revisions, and the catalog after them as far as their SQL is known."""
    from pulumi_alembic.sql.effects import play

    there = catalog.relations if catalog else {}
    accounts = []
    for step, does in zip(plan.steps, rendered, strict=True):
        lint = linted.revision(step, catalog)
        statements = []
        for (sql, outside), line in zip(does.statements, does.lines, strict=True):
            found, behind = play(sql, catalog)
            locks = tuple(replace(each, new=each.table not in there) for each in found.locks)
            findings = lint.statement(sql, line, found, catalog, outside=outside)
            statements.append(StatementAccount(redact(sql), outside, replace(found, locks=locks), findings))
            catalog = behind
        if does.runs_python and catalog:
            catalog = replace(catalog, complete=False)
        about = (step.id, step.message, f"{step.folder.name}/{step.file}", step.checksum, plan.direction)
        findings = lint.whole(does.statements, does.runs_python, linted.of_plan(step, catalog))
        more: dict[str, Any] = {"from_ledger": step.is_capsule, "proven_by": linted.proven_by(step)}
        if plan.direction is Direction.UPGRADE:
            more |= {"phase": step.phase if step.phase == CONTRACT else "", "breaks": tuple(map(redact, lint.breaks))}
        accounts.append(RevisionAccount(*about, does.runs_python, tuple(statements), findings, **more))
    return tuple(accounts), catalog
