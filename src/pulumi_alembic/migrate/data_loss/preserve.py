"""Preserve what a statement of a downgrade or of a contract drops, in the revision's transaction, before it runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg

from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import KEPT_SCHEMA
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.migrate.data_loss import move
from pulumi_alembic.migrate.data_loss.copied_ahead import CopiedAhead, copy_ahead
from pulumi_alembic.migrate.data_loss.losses import Loss, count, estimate
from pulumi_alembic.migrate.data_loss.plain_drops import drops_tables
from pulumi_alembic.migrate.data_loss.preserved_table import Entry, describe, is_ready, name_of, new_id
from pulumi_alembic.migrate.data_loss.sequences import read_sequences
from pulumi_alembic.migrate.data_loss.session import refusal, unchanging
from pulumi_alembic.migrate.data_loss.settings import is_wanted
from pulumi_alembic.migrate.data_loss.source import Before, Source
from pulumi_alembic.scripts.phases import phase_of
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.job import Request
    from pulumi_alembic.migrate.step_follower import Running

__all__ = ["Preserver"]

_PARTITIONED = "SELECT array_agg(oid::bigint) FROM pg_class WHERE relkind = 'p'"
_ROOTS = """
WITH RECURSIVE up AS (
    SELECT inhparent, 1 AS far FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
    WHERE inhrelid = to_regclass(%s) AND relispartition
    UNION ALL SELECT i.inhparent, far + 1 FROM pg_inherits i JOIN up ON inhrelid = up.inhparent
)
SELECT quote_ident(nspname) || '.' || quote_ident(relname), c.oid::bigint FROM up
JOIN pg_class c ON c.oid = inhparent JOIN pg_namespace n ON n.oid = relnamespace ORDER BY far
"""
_RECOUNT = 0.2
"""Seconds for counting rows while other sessions cannot write."""

_INSERTS = "insert|bulk_insert|merge|copy|call|do|session"
"""A script without any of these words leaves new tables empty."""
_FILLS_TABLES = re.compile(rf"(?i)(?<![a-z])({_INSERTS})(?![a-z])")
_FILLS_COLUMNS = re.compile(rf"(?i)(?<![a-z])({_INSERTS}|update|default|server_default)(?![a-z])")

_STILL = "SELECT format('DROP TABLE IF EXISTS %%s CASCADE', oid::regclass) FROM pg_class WHERE oid = ANY (%s)"


class Preserver:
    """Preserves rows and values in the schema `kept`, and records them in the ledger, as a part of the revision."""

    def __init__(self, session: Connection, running: Running, request: Request) -> None:
        self._session = session
        self._running = running
        self._request = request
        self._ready: bool | None = None
        self._owner = "OWNER"
        self._numbers: dict[Loss, int] = {}
        self._partitioned: set[int] = set()
        self._drops: list[int] = []
        self._reasons: list[str] = []
        self._kept: list[str] = []
        self._revision = ""
        self._before: Before | None = None
        self._requires: dict[int, str] = {}
        """By table oid, the revision that adds a required column without a default again."""
        self._ahead: dict[tuple[int, frozenset[str]], CopiedAhead] = {}
        """By table oid and dropped columns."""

    @property
    def wants(self) -> bool:
        """Whether data that the running revision deletes shall be preserved, if the schema `kept` exists."""
        step = self._running.step
        if step is None or not is_wanted(self._request.job.policy):
            return False
        return not step.is_upgrade or phase_of(self._request.script(step)) == CONTRACT

    @property
    def keeps(self) -> bool:
        """Whether data that the running revision deletes is preserved."""
        if not self.wants:
            return False
        if self._ready is None:
            self._ready = is_ready(self._session)
            [(self._owner,)] = self._session.execute("SELECT quote_ident(current_user)").fetchall()
        return self._ready

    @property
    def fills_tables(self) -> bool:
        """Whether the script can insert into a table that it creates. Then an empty table is preserved too."""
        return self._has(_FILLS_TABLES)

    @property
    def fills_columns(self) -> bool:
        """Whether the script can fill a column that it adds. Then NULL is preserved too."""
        return self._has(_FILLS_COLUMNS)

    def named(self, lost: Sequence[Loss]) -> list[Loss]:
        """Return the losses by the names from before the running revision, if its script can have changed them."""
        if self._before is None or self._revision != self._running.name:
            return list(lost)
        named: list[Loss] = []
        for loss in lost:
            source = Source(self._session, loss.table, self._before)
            column = next(
                (quoted(source.called(name)) for name, of in source.columns.items() if of.sql == loss.column), ""
            )
            named.append(replace(loss, table=source.name, column=column))
        return named

    def _has(self, words: re.Pattern[str]) -> bool:
        step = self._running.step
        return step is not None and words.search(self._request.script(step).source) is not None

    @property
    def before(self) -> Before:
        """The names before the first statement of the running revision that can change them."""
        if self._before is None or self._revision != self._running.name:
            self._revision, self._before = self._running.name, Before(self._session)
        return self._before

    def count(self, lost: Sequence[Loss]) -> None:
        """Count rows while other sessions can still read and write, for at most the policy's `count_timeout`."""
        # A shorter limit would also interrupt rolling back to the savepoint.
        limit = max(round(self._request.job.policy.count_timeout * 1000), 50)
        for loss in lost:
            if loss.column or loss in self._numbers:
                continue
            hopeless = (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege)
            with suppress(*hopeless), self._session.transaction():
                self._session.execute(f"SET LOCAL statement_timeout = {limit}; SET LOCAL row_security = off".encode())
                [self._numbers[loss]] = count(self._session, [loss])
                raise psycopg.Rollback

    def any(self, lost: Iterable[Loss]) -> bool:
        """Return whether there is anything to preserve."""
        if self.fills_tables and any(not loss.column for loss in lost):
            return True
        return self._exists(lost, null=self.fills_columns)

    def _exists(self, lost: Iterable[Loss], *, null: bool = False) -> bool:
        conditions = " OR ".join(f"EXISTS ({_some(loss, null=null)})" for loss in lost)
        try:
            with self._session.transaction():
                self._session.execute(b"SET LOCAL row_security = off")
                [(exists,)] = self._session.execute(f"SELECT {conditions}".encode()).fetchall()
                raise psycopg.Rollback
        except psycopg.errors.InsufficientPrivilege:
            return True
        return bool(exists)

    def look(self) -> None:
        """Note the partitioned tables that remain after the statement was tried, before it is rolled back."""
        [(partitions,)] = self._session.execute(_PARTITIONED.encode()).fetchall()
        self._partitioned = set(partitions or ())

    def copy_ahead(self, lost: Sequence[Loss]) -> None:
        """Copy the values that a later statement deletes, while other sessions can still read and write."""
        columns: dict[str, list[Loss]] = {}
        for loss in lost:
            if loss.column:
                columns.setdefault(loss.table, []).append(loss)
        for table, losses in columns.items():
            with unchanging(self._session):
                self._copy_ahead(Source(self._session, table, self.before), losses)

    def _copy_ahead(self, source: Source, losses: Sequence[Loss]) -> None:
        dropped, key = self._dropped(source, losses), move.key_of(self._session, source.table)
        place = source.oid, frozenset(dropped)
        if place in self._ahead or not dropped or not key or {*dropped} & {*key}:
            return
        try:
            with self._session.transaction():
                entry = self._of_values(source, key, dropped)
                if ahead := copy_ahead(self._session, entry, source, (*key, *dropped)):
                    self._ahead[place] = ahead
        except psycopg.Error as error:
            # They are copied under the lock, which reports why that is impossible.
            refusal(error)

    def preserve(self, lost: Sequence[Loss], statement: str) -> list[Loss]:
        """Preserve what `statement` deletes, after it was tried and rolled back. Return what cannot be preserved."""
        tables = list(dict.fromkeys(loss.table for loss in lost if not loss.column))
        columns: dict[str, list[Loss]] = {}
        for loss in lost:
            if loss.column:
                columns.setdefault(loss.table, []).append(loss)
        if any(loss.table.startswith(f"{KEPT_SCHEMA}.") for loss in lost):
            self._reasons = ["it was preserved before: see `pulumi-alembic kept`"]
            return list(lost)
        before = self.before
        for table in (*tables, *columns):
            self._session.execute(f"LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE".encode())
        left: dict[Loss, str] = {}
        with unchanging(self._session):
            for table, losses in columns.items():
                source = Source(self._session, table, before)
                self._note_required(source, losses)
                left |= dict.fromkeys(losses, reason) if (reason := self._values(source, losses)) else {}
            moves = drops_tables(statement)
            roots = {table: self._roots(table) for table in tables}
            filled = [table for table in tables if self.any([Loss(table)])]
            if moves and filled:
                dropped = [name for table in tables for name, oid in roots[table] if oid not in self._partitioned]
                move.drop_keys_into(self._session, dropped)
            for table in filled if moves else ():
                move.detach(self._session, table)
            for table in filled:
                above = [name for name, oid in roots[table] if oid not in self._partitioned]
                source = Source(self._session, table, before)
                if reason := self._rows(source, above[-1] if above else table, moves=moves):
                    left[Loss(table)] = reason
        self._reasons = sorted(set(left.values()))
        return list(left)

    @property
    def advice(self) -> str:
        """Why the lost data is not preserved although it could be, to append to a message."""
        if self.wants and not self._ready:
            return (
                f"\n  it would be preserved, if the schema {KEPT_SCHEMA} existed. "
                f"As an admin: CREATE SCHEMA {KEPT_SCHEMA} AUTHORIZATION {self._owner}"
            )
        return "".join(f"\n  it cannot be preserved: {reason}" for reason in self._reasons)

    def tidy(self) -> None:
        """Drop the tables that replaced moved ones or were detached, after the statement has run."""
        if self._drops:
            for (statement,) in self._session.execute(_STILL, [self._drops]).fetchall():
                self._session.execute(statement.encode())
        self._drops = []

    def complete(self) -> None:
        """Report what the revision preserved, after its script and before the commit."""
        for entry in self._kept:
            self._request.listener.kept(entry)
        for ahead in self._ahead.values():
            ahead.drop(self._session)
        self._kept, self._ahead = [], {}

    def _roots(self, table: str) -> list[tuple[str, int]]:
        """Return the partitioned tables above the table, the nearest first."""
        return [(name, oid) for name, oid in self._session.execute(_ROOTS, [table]).fetchall()]

    def _rows(self, source: Source, into: str, *, moves: bool) -> str:
        root = Source(self._session, into, self.before)
        entry = replace(self._entry(source, root), **self._number(source.table))
        if moves and source.is_light and self._move(entry, source):
            return self._keep(replace(entry, moved=True))
        if moves:
            # A detached partition is not dropped with its partitioned table.
            self._drop_later(source.table)
        try:
            with self._session.transaction():
                entry = replace(move.copy_rows(self._session, entry, source), about=False)
        except psycopg.Error as error:
            return _reason(error)
        return self._keep(entry)

    def _note_required(self, source: Source, losses: Sequence[Loss]) -> None:
        dropped = {loss.column for loss in losses}
        if any(column.required and column.sql in dropped for column in source.columns.values()):
            for oid in (source.oid, *(oid for _, oid in self._roots(source.table))):
                self._requires.setdefault(oid, self._running.name)

    def _entry(self, source: Source, root: Source) -> Entry:
        id, step = new_id(), self._running.step
        script = self._request.script(step).checksum if step is not None else ""
        sequences = read_sequences(self._session, root.table).items()
        return Entry(
            id,
            self._running.name,
            source.name,
            root.name,
            name_of(source.name, id),
            types=source.types,
            sequences={root.called(column): state for column, state in sequences},
            refers=self.before.refers(root.oid),
            script=script,
            waits=self._requires.get(root.oid, ""),
            restored_by=Direction.of(is_upgrade=not self._running.upgrades),
        )

    def _number(self, table: str) -> dict[str, Any]:
        """Return the number of rows: exact, or an earlier count or an estimate if counting takes too long now."""
        counted = self._numbers.get(Loss(table))
        with suppress(psycopg.errors.QueryCanceled), self._session.transaction():
            limit = round(_RECOUNT * 1000)
            self._session.execute(f"SET LOCAL statement_timeout = {limit}".encode())
            with move.unhidden(self._session, table):
                [counted] = count(self._session, [Loss(table)])
            self._session.execute("SET LOCAL statement_timeout = 0")
            return {"rows": counted}
        if counted is None:
            [counted] = estimate(self._session, [Loss(table)])
        return {"rows": counted, "about": counted is not None}

    def _move(self, entry: Entry, source: Source) -> bool:
        try:
            with self._session.transaction():
                if not move.move(self._session, entry, source):
                    raise psycopg.Rollback
                self._drop_later(source.table)
                return True
        except psycopg.Error as error:
            _reason(error)
        return False

    def _values(self, source: Source, losses: Sequence[Loss]) -> str:
        dropped = self._dropped(source, losses)
        if not dropped:
            return ""
        key = move.key_of(self._session, source.table)
        if not key:
            return "the table has no primary key to restore values by"
        if {*dropped} & {*key}:
            return "the primary key to restore values by is dropped with it"
        entry, names = self._of_values(source, key, dropped), (*key, *dropped)
        ahead = self._ahead.get((source.oid, frozenset(dropped)))
        try:
            with self._session.transaction():
                if ahead is not None and ahead.fits(self._session, source, names):
                    entry = ahead.catch_up(self._session, entry, source)
                else:
                    entry = move.copy_values(self._session, entry, source, names)
        except psycopg.Error as error:
            return _reason(error)
        return self._keep(entry)

    def _dropped(self, source: Source, losses: Sequence[Loss]) -> tuple[str, ...]:
        """Return the columns that have values to preserve."""
        columns_by_name = {column.sql: column for column in source.columns.values()}
        columns = [columns_by_name[loss.column] for loss in losses if self.fills_columns or self._exists([loss])]
        ordered = sorted(columns, key=lambda column: column.number)
        return tuple(column.name for column in ordered) if self._exists(losses, null=self.fills_columns) else ()

    def _of_values(self, source: Source, key: Sequence[str], dropped: Sequence[str]) -> Entry:
        """Describe a preserved table of the values of these columns."""
        roots = self._roots(source.table)
        entry = self._entry(source, Source(self._session, roots[-1][0], self.before) if roots else source)
        columns, key_called = (tuple(map(source.called, subset)) for subset in (dropped, key))
        required = any(source.columns[name].required for name in dropped)
        sequences = {name: at for name, at in entry.sequences.items() if name in columns}
        return replace(entry, columns=columns, key=key_called, required=required, sequences=sequences)

    def _keep(self, entry: Entry) -> str:
        [(size,)] = self._session.execute("SELECT pg_table_size(%s)", [entry.place]).fetchall()
        entry = replace(entry, bytes=size)
        describe(self._session, entry)
        ledger.prepare(self._session)
        detail = {
            "revision": entry.revision,
            "what": entry.described(entry.rows),
            "kept": entry.place,
            **{name: getattr(entry, name) for name in ("id", "table", "columns", "rows", "bytes", "moved")},
        }
        run = Run(self._running.before, self._running.before)
        ledger.note(self._session, Row(Event.KEPT, run, detail), self._request.job.origin)
        self._kept += [f"{entry.revision}: preserved {text}" for text in entry.texts]
        return ""

    def _drop_later(self, table: str) -> None:
        [(oid,)] = self._session.execute("SELECT to_regclass(%s)::oid::bigint", [table]).fetchall()
        self._drops.append(oid)


def _reason(error: psycopg.Error) -> str:
    return server_message.primary(refusal(error))


def _some(loss: Loss, *, null: bool) -> str:
    only = "ONLY " if loss.only or not loss.column else ""
    condition = f" WHERE {loss.column} IS NOT NULL" if loss.column and not null else ""
    return f"SELECT FROM {only}{loss.table}{condition}"
