"""The rows that a plan would delete, preserve or restore, as a preview counts them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import KEPT_SCHEMA, connect, login_search_path, read_catalog
from pulumi_alembic.migrate.data_loss.columns import read_columns
from pulumi_alembic.migrate.data_loss.losses import Loss, count, estimate, losses
from pulumi_alembic.migrate.data_loss.move import key_of
from pulumi_alembic.migrate.data_loss.plain_drops import drops_tables
from pulumi_alembic.migrate.data_loss.preserved_table import is_ready, read, waits
from pulumi_alembic.review.plan_review import Account, RevisionAccount
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.sql.catalog import Catalog, quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Risk", "at_risk", "at_risk_by_statistics", "with_kept"]

_PATIENCE = b"SET lock_timeout = 1; SET statement_timeout = 40; SET row_security = off"
"""Milliseconds that a preview may wait for a lock, and hold that of a reader, and so keep DDL waiting."""


_RENAMING = re.compile(r"(?i)\b(rename|schema)\b")

_SIZE = "SELECT pg_size_pretty(pg_table_size(to_regclass(%s)))"


@dataclass(frozen=True)
class Risk:
    """What a revision would delete: `shown` by its name before the revision, with how much of it as `text`.

    `drops` are the statements that drop it; there are none where one empties it.
    """

    loss: Loss
    shown: Loss
    text: str = ""
    drops: tuple[str, ...] = ()


def at_risk(url: str, account: Account, *, apart: bool) -> dict[str, tuple[Risk, ...]]:
    """How much each revision would delete of what is there now; `apart` as in `losses`.

    Nobody waits for it, and it waits for nobody: what is locked or takes long to count is told by the statistics.
    Raises DatabaseError.
    """
    if not any(one.effects.destroys for each in account.revisions for one in each.statements):
        return {}
    with connect(url) as connection:
        catalog = read_catalog(connection, login_search_path(url))
        connection.commit()
        connection.autocommit = True
        connection.execute(_PATIENCE)
        risks = {
            id: [replace(each, text=_told(connection, each)) for each in found]
            for id, found in _risks(account, catalog, apart=apart).items()
        }
    return {id: some for id, found in risks.items() if (some := tuple(each for each in found if each.text))}


def at_risk_by_statistics(account: Account, catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """What each revision would take away of what the catalog has: with about so many rows, if its statistics say so."""
    return {
        id: tuple(each.shown.told(rows or None, about=bool(rows)) for each, rows in _estimated(found, catalog))
        for id, found in _risks(account, catalog, apart=False).items()
    }


def _estimated(found: Iterable[Risk], catalog: Catalog) -> Iterator[tuple[Risk, int]]:
    return ((each, catalog.relations[each.loss.table].rows) for each in found)


def _risks(account: Account, catalog: Catalog, *, apart: bool) -> dict[str, list[Risk]]:
    from pulumi_alembic.sql.effects import after

    now = catalog
    moves = any(_RENAMING.search(one.sql) for each in account.revisions for one in each.statements)
    gone: set[Loss] = set()
    found: dict[str, list[Risk]] = {}
    for revision in account.revisions:
        before = now
        risks: dict[Loss, Risk] = {}
        for statement in revision.statements:
            emptied = {each for each in statement.effects.destroys if each.startswith("rows of ")}
            for each in losses(statement.effects.destroys, now, apart=apart):
                loss = _original(each, now)
                if loss in gone or loss.table not in catalog.relations:
                    continue
                if loss not in risks or risks[loss].drops:
                    drops = risks[loss].drops if loss in risks else ()
                    drops = () if f"rows of {each.table}" in emptied else (*drops, statement.sql)
                    risks[loss] = Risk(loss, _named(loss, before), drops=drops)
            now = after(statement.sql, now) if moves else now
        gone |= risks.keys()
        found[revision.id] = list(risks.values())
    return found


def _original(loss: Loss, catalog: Catalog) -> Loss:
    """By the names that the database has."""
    relation = catalog.relations.get(loss.table)
    if relation is None:
        return loss
    columns = {quoted(name): quoted(each.was or name) for name, each in relation.columns.items()}
    return Loss(relation.was or relation.name, columns.get(loss.column, loss.column), loss.only)


def _named(loss: Loss, catalog: Catalog) -> Loss:
    """By the names that the catalog has for what the database calls so."""
    for relation in catalog.relations.values():
        if (relation.was or relation.name) == loss.table:
            columns = {quoted(each.was or name): quoted(name) for name, each in relation.columns.items()}
            return Loss(relation.name, columns.get(loss.column, loss.column))
    return loss


def _told(connection: Connection, risk: Risk) -> str:
    """How much there is of one; empty where there is nothing."""
    loss, shown = risk.loss, risk.shown
    try:
        [number] = count(connection, [loss])
        return shown.told(number) if number else ""
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
        [about] = estimate(connection, [loss])
        return shown.told(about, about=about is not None)


def with_kept(account: Account, url: str, risks: Mapping[str, Iterable[Risk]]) -> Account:
    """The account with what its revisions preserve, which are no losses then, and what they restore.

    `risks` are what they would drop. It waits for nobody. Raises DatabaseError.
    """
    with connect(url) as connection:
        connection.execute(b"SET LOCAL lock_timeout = 1")
        account = _with_returns(connection, account)
        if not risks or not is_ready(connection):
            return account
        revisions = (
            _sorted(connection, each, risks.get(each.id, ()))
            if each.phase == CONTRACT or account.direction == Direction.DOWNGRADE
            else each
            for each in account.revisions
        )
        return replace(account, revisions=tuple(revisions))


def _with_returns(connection: Connection, account: Account) -> Account:
    kept = [each for each in read(connection) if each.restored_by == account.direction]
    ids, revisions = [each.id for each in account.revisions], []
    for number, revision in enumerate(account.revisions):
        mine = [each for each in kept if revision.id in (each.revision, each.waits)]
        later = {entry.id: until for entry, until in waits(mine, kept, ids[number + 1 :])}
        back = [each for each in mine if each.id not in later]
        kept = [replace(each, waits=later.get(each.id, each.waits)) for each in kept if each not in back]
        texts = tuple(text for each in back for text in each.texts)
        revisions.append(replace(revision, puts_back=texts))
    return replace(account, revisions=tuple(revisions))


def _sorted(connection: Connection, revision: RevisionAccount, risks: Iterable[Risk]) -> RevisionAccount:
    keeps: list[str] = []
    losses: list[str] = []
    for risk in risks:
        cost = _cost(connection, risk)
        (keeps if cost else losses).append(f"{risk.text}: {cost}" if cost else risk.text)
    return replace(revision, keeps=tuple(keeps), losses=tuple(losses))


def _cost(connection: Connection, risk: Risk) -> str:
    """What it costs to keep it; empty where it cannot be kept."""
    loss = risk.loss
    if not risk.drops or loss.table.startswith(f"{KEPT_SCHEMA}."):
        return ""
    there = read_columns(connection, loss.table)
    if loss.column:
        key = key_of(connection, loss.table)
        return "copied under lock" if key and loss.column not in {there[each].sql for each in key} else ""
    light = all((each.plain or each.base) and not each.collated for each in there.values())
    if light and all(map(drops_tables, risk.drops)):
        return "moved, no copy"
    [(size,)] = connection.execute(_SIZE, [loss.table]).fetchall()
    return f"copied under lock, {size}"
