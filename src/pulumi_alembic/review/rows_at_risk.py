"""Count the rows that a plan would delete, preserve or restore, for its preview."""

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
from pulumi_alembic.review.plan_review import PlanReview, RevisionReview
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.sql.catalog import Catalog, quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Risk", "at_risk", "at_risk_by_statistics", "with_preserved"]

_PATIENCE = b"SET lock_timeout = 1; SET statement_timeout = 40; SET row_security = off"
"""Limits in milliseconds for each count: how long it waits for a lock, and how long it holds a reader's lock."""


_RENAMING = re.compile(r"(?i)\b(rename|schema)\b")

_SIZE = "SELECT pg_size_pretty(pg_table_size(to_regclass(%s)))"


@dataclass(frozen=True)
class Risk:
    """Data that a revision would delete.

    Attributes:
        loss: The table or column by its name in the database.
        shown: The same by its name before the revision.
        text: How much data it is.
        drops: The statements that drop it. Empty if a statement only deletes its rows.

    """

    loss: Loss
    shown: Loss
    text: str = ""
    drops: tuple[str, ...] = ()


def at_risk(url: str, review: PlanReview, *, apart: bool) -> dict[str, tuple[Risk, ...]]:
    """Return how much of the database's data each revision would delete.

    The count neither blocks other sessions nor waits for them. If a table is locked or takes long to count, the number
    comes from the statistics.

    Args:
        url: The migrator's URL.
        review: The review of the plan.
        apart: Whether the values of a column are counted for each partition and child table on its own.

    Raises:
        DatabaseError: The database cannot be read.

    """
    if not any(statement.effects.destroys for revision in review.revisions for statement in revision.statements):
        return {}
    with connect(url) as connection:
        catalog = read_catalog(connection, login_search_path(url))
        connection.commit()
        connection.autocommit = True
        connection.execute(_PATIENCE)
        risks = {
            id: [replace(risk, text=_risk_text(connection, risk)) for risk in of_revision]
            for id, of_revision in _risks(review, catalog, apart=apart).items()
        }
    return {id: some for id, of_revision in risks.items() if (some := tuple(risk for risk in of_revision if risk.text))}


def at_risk_by_statistics(review: PlanReview, catalog: Catalog) -> dict[str, tuple[str, ...]]:
    """Return what each revision would delete, with numbers of rows from the catalog's statistics."""
    return {
        id: tuple(
            risk.shown.described(rows or None, about=bool(rows)) for risk, rows in _estimated(of_revision, catalog)
        )
        for id, of_revision in _risks(review, catalog, apart=False).items()
    }


def _estimated(risks: Iterable[Risk], catalog: Catalog) -> Iterator[tuple[Risk, int]]:
    return ((risk, catalog.relations[risk.loss.table].rows) for risk in risks)


def _risks(review: PlanReview, catalog: Catalog, *, apart: bool) -> dict[str, list[Risk]]:
    from pulumi_alembic.sql.effects import after

    now = catalog
    moves = any(_RENAMING.search(sent.sql) for review in review.revisions for sent in review.statements)
    gone: set[Loss] = set()
    by_revision: dict[str, list[Risk]] = {}
    for revision in review.revisions:
        before = now
        risks: dict[Loss, Risk] = {}
        for statement in revision.statements:
            emptied = {destroyed for destroyed in statement.effects.destroys if destroyed.startswith("rows of ")}
            for destroyed in losses(statement.effects.destroys, now, apart=apart):
                loss = _original(destroyed, now)
                if loss in gone or loss.table not in catalog.relations:
                    continue
                if loss not in risks or risks[loss].drops:
                    drops = risks[loss].drops if loss in risks else ()
                    drops = () if f"rows of {destroyed.table}" in emptied else (*drops, statement.sql)
                    risks[loss] = Risk(loss, _named(loss, before), drops=drops)
            now = after(statement.sql, now) if moves else now
        gone |= risks.keys()
        by_revision[revision.id] = list(risks.values())
    return by_revision


def _original(loss: Loss, catalog: Catalog) -> Loss:
    """Return the loss with the names in the database."""
    relation = catalog.relations.get(loss.table)
    if relation is None:
        return loss
    columns = {quoted(name): quoted(column.was or name) for name, column in relation.columns.items()}
    return Loss(relation.was or relation.name, columns.get(loss.column, loss.column), loss.only)


def _named(loss: Loss, catalog: Catalog) -> Loss:
    """Return the loss with the names in the catalog, which the plan has changed."""
    for relation in catalog.relations.values():
        if (relation.was or relation.name) == loss.table:
            columns = {quoted(column.was or name): quoted(name) for name, column in relation.columns.items()}
            return Loss(relation.name, columns.get(loss.column, loss.column))
    return loss


def _risk_text(connection: Connection, risk: Risk) -> str:
    """Return how much data would be lost. Empty if there is none."""
    loss, shown = risk.loss, risk.shown
    try:
        [number] = count(connection, [loss])
        return shown.described(number) if number else ""
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
        [about] = estimate(connection, [loss])
        return shown.described(about, about=about is not None)


def with_preserved(review: PlanReview, url: str, risks: Mapping[str, Iterable[Risk]]) -> PlanReview:
    """Return the review with the data that its revisions preserve and restore. Preserved data is no loss.

    Args:
        review: The review of the plan.
        url: The migrator's URL.
        risks: What each revision would delete.

    Raises:
        DatabaseError: The database cannot be read. The reading does not wait for locks.

    """
    with connect(url) as connection:
        connection.execute(b"SET LOCAL lock_timeout = 1")
        review = _with_returns(connection, review)
        if not risks or not is_ready(connection):
            return review
        revisions = (
            _sorted(connection, revision, risks.get(revision.id, ()))
            if revision.phase == CONTRACT or review.direction == Direction.DOWNGRADE
            else revision
            for revision in review.revisions
        )
        return replace(review, revisions=tuple(revisions))


def _with_returns(connection: Connection, review: PlanReview) -> PlanReview:
    kept = [entry for entry in read(connection) if entry.restored_by == review.direction]
    ids, revisions = [review.id for review in review.revisions], []
    for number, revision in enumerate(review.revisions):
        mine = [entry for entry in kept if revision.id in (entry.revision, entry.waits)]
        later = {entry.id: until for entry, until in waits(mine, kept, ids[number + 1 :])}
        back = [entry for entry in mine if entry.id not in later]
        kept = [replace(entry, waits=later.get(entry.id, entry.waits)) for entry in kept if entry not in back]
        texts = tuple(text for entry in back for text in entry.texts)
        revisions.append(replace(revision, puts_back=texts))
    return replace(review, revisions=tuple(revisions))


def _sorted(connection: Connection, revision: RevisionReview, risks: Iterable[Risk]) -> RevisionReview:
    keeps: list[str] = []
    losses: list[str] = []
    for risk in risks:
        cost = _cost(connection, risk)
        (keeps if cost else losses).append(f"{risk.text}: {cost}" if cost else risk.text)
    return replace(revision, keeps=tuple(keeps), losses=tuple(losses))


def _cost(connection: Connection, risk: Risk) -> str:
    """Return the cost of preserving the data. Empty if it cannot be preserved."""
    loss = risk.loss
    if not risk.drops or loss.table.startswith(f"{KEPT_SCHEMA}."):
        return ""
    columns = read_columns(connection, loss.table)
    if loss.column:
        key = key_of(connection, loss.table)
        return "copied" if key and loss.column not in {columns[column].sql for column in key} else ""
    light = all((column.plain or column.base) and not column.collated for column in columns.values())
    if light and all(map(drops_tables, risk.drops)):
        return "moved, no copy"
    [(size,)] = connection.execute(_SIZE, [loss.table]).fetchall()
    return f"copied under lock, {size}"
