"""What a preview says of what is kept: what a downgrade sets aside, at which cost, and what an upgrade puts back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.account import Account, RevisionAccount
from pulumi_alembic.database import KEPT_SCHEMA, connect
from pulumi_alembic.guard.losses import Loss
from pulumi_alembic.keeping.columns import read_columns
from pulumi_alembic.keeping.copying import key_of
from pulumi_alembic.keeping.entry import is_ready, read
from pulumi_alembic.keeping.plain import drops_tables

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["with_kept"]

_SIZE = "SELECT pg_size_pretty(pg_table_size(to_regclass(%s)))"


def with_kept(account: Account, url: str, risks: Mapping[str, Iterable[tuple[Loss, str]]]) -> Account:
    """The account with what its revisions set aside, which are no losses then, and what they put back.

    `risks` are what they would take away. It waits for nobody. Raises DatabaseError.
    """
    if account.direction == "upgrade":
        return _with_returns(account, url)
    if not risks:
        return account
    with connect(url) as connection:
        connection.execute(b"SET LOCAL lock_timeout = 1")
        if not is_ready(connection):
            return account
        revisions = (_sorted(connection, each, risks.get(each.id, ())) for each in account.revisions)
        return replace(account, revisions=tuple(revisions))


def _with_returns(account: Account, url: str) -> Account:
    with connect(url) as connection:
        kept = read(connection)
    revisions = tuple(
        replace(each, puts_back=tuple(entry.told(entry.rows) for entry in kept if entry.revision == each.id))
        for each in account.revisions
    )
    return replace(account, revisions=revisions) if kept else account


def _sorted(connection: Connection, revision: RevisionAccount, risks: Iterable[tuple[Loss, str]]) -> RevisionAccount:
    keeps: list[str] = []
    losses: list[str] = []
    for loss, told in risks:
        cost = _cost(connection, revision, loss)
        (keeps if cost else losses).append(f"{told}: {cost}" if cost else told)
    return replace(revision, keeps=tuple(keeps), losses=tuple(losses))


def _cost(connection: Connection, revision: RevisionAccount, loss: Loss) -> str:
    """What it costs to keep it; empty where it cannot be kept."""
    taking = list(_taking(revision, loss))
    if not taking or loss.table.startswith(f"{KEPT_SCHEMA}."):
        return ""
    if loss.column:
        key = key_of(connection, loss.table)
        there = read_columns(connection, loss.table)
        return "copied under lock" if key and loss.column not in {there[each].sql for each in key} else ""
    light = all(
        (each.plain or each.base) and not each.collated for each in read_columns(connection, loss.table).values()
    )
    if light and all(map(drops_tables, taking)):
        return "moved, no copy"
    [(size,)] = connection.execute(_SIZE, [loss.table]).fetchall()
    return f"copied under lock, {size}"


def _taking(revision: RevisionAccount, loss: Loss) -> Iterator[str]:
    """The statements that drop it; none where one of them empties it, which is no drop."""
    name = f"column {loss.table}.{loss.column}" if loss.column else f"table {loss.table}"
    for each in revision.statements:
        if name in each.effects.destroys:
            yield each.sql
