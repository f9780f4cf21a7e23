"""The account of a plan: what its revisions send, and what that does to the database as it is now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from pulumi_alembic import planning
from pulumi_alembic.account import Account, RevisionAccount, StatementAccount
from pulumi_alembic.database import VERSION_SCHEMA
from pulumi_alembic.plan import revision_text
from pulumi_alembic.redact import redact

if TYPE_CHECKING:
    from pulumi_alembic.catalog import Catalog
    from pulumi_alembic.history import History
    from pulumi_alembic.plan import Plan
    from pulumi_alembic.rendering import Rendered

__all__ = ["account_from_base", "account_from_database", "account_of"]


def account_from_database(url: str, directory: Path, target: str) -> tuple[Plan, Account]:
    """The plan from where the database is now, and its account. Raises as `planning.plan_from_database` does."""
    looked = planning.look_closely(url, directory, target, catalog=True)
    planning.refuse_unfit(looked.plan, url)
    account = account_of(looked.plan, looked.history, looked.catalog, database(url))
    return looked.plan, _with_losses(account, url)


def account_from_base(directory: Path, target: str) -> tuple[Plan, Account]:
    """As `account_from_database`, for a database that does not exist yet."""
    looked = planning.look_at_nothing(directory, target)
    planning.refuse_unfit(looked.plan, None)
    return looked.plan, account_of(looked.plan, looked.history, None)


def account_of_empty(url: str, directory: Path, target: str) -> Account | None:
    """The account as a preview makes it before there is a database; None where anything is in the one there is."""
    looked = planning.look_closely(url, directory, target, catalog=True)
    there = looked.catalog.relations if looked.catalog else ()
    if looked.plan.current or any(not name.startswith(f"{VERSION_SCHEMA}.") for name in there):
        return None
    return account_of(looked.plan, looked.history, None)


def account_of(plan: Plan, history: History, catalog: Catalog | None, database: str = "") -> Account:
    """What the steps of the plan do to what the catalog describes. Raises HistoryError as `rendering.render` does."""
    account = Account(revision_text(plan.current), plan.target, plan.direction, database)
    if not plan.steps:
        return account
    from pulumi_alembic.catalog import Catalog
    from pulumi_alembic.rendering import render
    from pulumi_alembic.tables import tables

    revisions, after = _revisions(plan, render(plan, history), catalog)
    return replace(account, revisions=revisions, tables=tables(catalog or Catalog(), after or Catalog()))


def _with_losses(account: Account, url: str) -> Account:
    if not account.revisions:
        return account
    from pulumi_alembic.losses import at_risk

    risks = at_risk(url, account)
    revisions = (replace(each, losses=risks.get(each.id, ())) for each in account.revisions)
    return replace(account, revisions=tuple(revisions))


def database(url: str) -> str:
    """`HOST:PORT/NAME`."""
    parts = urlsplit(url)
    [host, *_] = parse_qs(parts.query).get("host", ["localhost"])
    return f"{parts.hostname or host}:{parts.port or 5432}{parts.path}"


def _revisions(
    plan: Plan, rendered: tuple[Rendered, ...], catalog: Catalog | None
) -> tuple[tuple[RevisionAccount, ...], Catalog | None]:
    """The revisions, and the catalog after them as far as their SQL is known."""
    from pulumi_alembic.effects import after, effects

    there = catalog.relations if catalog else {}
    accounts = []
    for step, does in zip(plan.steps, rendered, strict=True):
        statements = []
        for sql, outside in does.statements:
            found = effects(sql, catalog)
            locks = tuple(replace(each, new=each.table not in there) for each in found.locks)
            statements.append(StatementAccount(redact(sql), outside, replace(found, locks=locks)))
            catalog = after(sql, catalog)
        if does.runs_python and catalog:
            catalog = replace(catalog, complete=False)
        about = (step.id, step.message, f"{step.folder.name}/{step.file}", step.checksum, plan.direction)
        accounts.append(RevisionAccount(*about, does.runs_python, tuple(statements)))
    return tuple(accounts), catalog
