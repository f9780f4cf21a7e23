"""A rehearsal from its beginning to its end: everything that can go wrong with it is a reason, and nothing stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic import server_message
from pulumi_alembic.account import Account
from pulumi_alembic.database import connect, log_in
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.fingerprint import read_lines
from pulumi_alembic.plan import Direction
from pulumi_alembic.rehearsal.client import Client, find_client
from pulumi_alembic.rehearsal.copying import Foundation, furnish, read_foundation, read_ledger, replay
from pulumi_alembic.rehearsal.dump import dump
from pulumi_alembic.rehearsal.refusal import NotRehearsed
from pulumi_alembic.rehearsal.scratch import Scratch, at, scratch

if TYPE_CHECKING:
    from pulumi_alembic.planning import Looked

__all__ = ["rehearsal"]


@dataclass(frozen=True)
class _Stage:
    """A scratch database with the target's schema in it, and the lines of its fingerprint."""

    database: Scratch
    lines: tuple[str, ...]


@contextmanager
def rehearsal(
    url: str, admin: str, looked: Looked, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Callable[[Account], Account]]:
    """Begin to set the scratch database up, beside whatever the block does; what it gives, rehearses the account.

    `url` is the migrator's at the target, `admin` the URL of a login of the same server that may make databases and
    become the owner. Where there cannot be a rehearsal the account comes back with the reason. At the end of the block
    the scratch database is gone; it is never in the way of the target.
    """
    with ExitStack() as stack, ThreadPoolExecutor(2) as aside:
        preparing = aside.submit(_prepare, stack, aside, url, admin, looked)

        def rehearse(account: Account) -> Account:
            count = len(looked.plan.steps)
            tell(f"rehearses {count} revision{'' if count == 1 else 's'} in a scratch database")
            try:
                return _rehearse(preparing.result(), url, looked, account)
            except NotRehearsed as reason:
                return replace(account, not_rehearsed=str(reason))
            except (MigrationError, psycopg.Error, OSError) as error:
                return replace(account, not_rehearsed=_reason(error))

        try:
            yield rehearse
        finally:
            # What it began has to be there before it can be taken away.
            with suppress(NotRehearsed, Exception):
                preparing.result()


def _prepare(stack: ExitStack, aside: ThreadPoolExecutor, url: str, admin: str, looked: Looked) -> _Stage:
    reading = aside.submit(_read, url, [step.id for step in looked.plan.steps])
    database = stack.enter_context(scratch(admin, url, _client))
    foundation, schema, ledger = reading.result()
    with closing(log_in(database.url, "alembic rehearsal", autocommit=True)) as connection:
        furnish(connection, url, foundation)
    with connect(at(url, database.name)) as connection:
        connection.autocommit = True
        replay(connection, schema, foundation, looked.plan.current, ledger)
        with connection.transaction():
            return _Stage(database, read_lines(connection))


def _read(url: str, revisions: Sequence[str]) -> tuple[Foundation, str, list[str]]:
    """The target's schema, and what its ledger has on these revisions; nothing of it has to wait for anybody."""
    with connect(url) as connection:
        [(owner,)] = connection.execute("SELECT current_user").fetchall()
        _refuse_powerful(connection.execute(_POWERS).fetchall())
        client = _client(connection.info.server_version // 10000)
        foundation = read_foundation(connection)
        ledger = read_ledger(connection, revisions)
        connection.commit()
        connection.autocommit = True
        # As the login itself it sees the dump's session, which is one of the same login. RESET ROLE can be the owner.
        connection.execute("SET ROLE NONE")
        return foundation, dump(url, connection, owner, client), ledger


_POWERS = """
SELECT p.rolname, p.rolname IN (current_user, session_user) FROM pg_roles p
WHERE (p.rolsuper OR p.rolcreaterole OR p.rolcreatedb OR p.rolreplication OR p.rolname IN (
        'pg_signal_backend', 'pg_write_server_files', 'pg_execute_server_program', 'pg_checkpoint',
        'pg_create_subscription', 'pg_signal_autovacuum_worker'))
    AND (pg_has_role(current_user, p.oid, 'MEMBER') OR pg_has_role(session_user, p.oid, 'MEMBER'))
ORDER BY 2 DESC, 1
"""


def _refuse_powerful(roles: list[tuple[str, bool]]) -> None:
    """What a revision can do to the whole server, it could do in its rehearsal."""
    if roles:
        name, runs = roles[0]
        how = "runs the revisions" if runs else "the login may become"
        raise NotRehearsed(f"{name}, which {how}, may change more than its own database")


def _client(server: int) -> Client:
    client = find_client(server)
    if client is None:
        raise NotRehearsed(f"no pg_dump of PostgreSQL {server} or newer is on this machine")
    return client


def _rehearse(stage: _Stage, url: str, looked: Looked, account: Account) -> Account:
    from pulumi_alembic.rehearsal.performing import perform, perform_back
    from pulumi_alembic.rehearsal.telling import told

    there = looked.catalog.relations if looked.catalog else {}
    here = at(url, stage.database.name)
    forth = perform(here, looked.plan, looked.history, looked.catalog)
    back = None
    if looked.plan.direction is Direction.UPGRADE and forth.looker.seen:
        back = perform_back(here, looked.plan, forth.looker, looked.history)
    return told(account, there, stage.lines, forth, back)


def _reason(error: Exception) -> str:
    return " ".join(server_message.any_error(error).split())
