"""What a preview says of what is kept: what a downgrade sets aside, at which cost, and what an upgrade puts back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi_alembic.account import Account, RevisionAccount
from pulumi_alembic.database import KEPT_SCHEMA, connect
from pulumi_alembic.guard.losses import Risk
from pulumi_alembic.keeping.columns import read_columns
from pulumi_alembic.keeping.copying import key_of
from pulumi_alembic.keeping.entry import is_ready, read
from pulumi_alembic.keeping.plain import drops_tables
from pulumi_alembic.keeping.waiting import waits

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["with_kept"]

_SIZE = "SELECT pg_size_pretty(pg_table_size(to_regclass(%s)))"


def with_kept(account: Account, url: str, risks: Mapping[str, Iterable[Risk]]) -> Account:
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
