"""Restore what the other direction of the same revision preserved, at the end of the revision's transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database.connection import VERSION_TABLE
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.ledger import Event, Row, Run
from pulumi_alembic.migrate.data_loss.catalog_after import Names, names
from pulumi_alembic.migrate.data_loss.foreign_keys import ForeignKey, deferred, read_keys, sorted_by_keys, tables_of
from pulumi_alembic.migrate.data_loss.guard import written
from pulumi_alembic.migrate.data_loss.preserved_table import Entry, describe, is_ready, numbers, read, rename, waits
from pulumi_alembic.migrate.data_loss.remainder import left_of, merge
from pulumi_alembic.migrate.data_loss.rows import Part, Rows, mark_orphans
from pulumi_alembic.migrate.data_loss.sequences import set_sequences
from pulumi_alembic.migrate.data_loss.session import Unfit, reason, refusal, unchanging
from pulumi_alembic.migrate.data_loss.target import Target, quiet
from pulumi_alembic.migrate.data_loss.values import Values, not_unique, write, write_each
from pulumi_alembic.output.tracing import span
from pulumi_alembic.scripts.plan import Direction

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.computed import Computed
    from pulumi_alembic.migrate.job import Request
    from pulumi_alembic.migrate.step_follower import Running

__all__ = ["DataRestore"]

_T = TypeVar("_T")

_TREE = """
WITH RECURSIVE tree AS (
    SELECT unnest(%s::bigint[])::oid AS oid UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
)
SELECT array_agg(oid::bigint) FROM tree
"""


class DataRestore:
    """Restores what the downgrade or the contract had dropped when the revision runs in the other direction.

    Data that cannot be restored stays preserved with a reason, and causes no error. Rows from before the revision are
    never overwritten, nor is what a contract's downgrade computes. If nothing is preserved at first, that holds for the
    whole run: it has one direction, and no other session migrates.
    """

    def __init__(self, session: Connection, running: Running, request: Request) -> None:
        self._session = session
        self._running = running
        self._request = request
        self._revision = ""
        self._kept: list[Entry] | None = None
        self._before: Names = {}
        self._computed: Computed | None = None

    def follow(self, engine: sa.Engine) -> None:
        """Read the names of tables before the first statement that a revision sends through `engine`."""
        sa.event.listen(engine, "before_cursor_execute", self._begin)
        sa.event.listen(engine, "after_cursor_execute", self._note)

    def _begin(self, *_: object) -> None:
        running, status = self._running, self._session.info.transaction_status
        if running.step is None or running.name == self._revision or self._kept == [] or self._session.autocommit:
            return
        if status == psycopg.pq.TransactionStatus.INERROR:
            return
        self._revision, self._computed = running.name, None
        self._kept = self._read()
        if any(self._is_mine(entry) or entry.waits for entry in self._kept):
            self._before = names(self._session)
            if not running.upgrades:
                from pulumi_alembic.migrate.data_loss.computed import Computed

                self._computed = Computed(self._session)

    def _note(self, _: object, __: object, text: str, parameters: Any, ___: object, many: bool) -> None:
        if self._computed is not None and self._running.name == self._revision and VERSION_TABLE not in text:
            self._computed.note(written(text, parameters, many=many))

    def _read(self) -> list[Entry]:
        direction = Direction.of(is_upgrade=self._running.upgrades)
        return [entry for entry in read(self._session) if entry.restored_by == direction]

    def complete(self) -> None:
        """Restore what is preserved of the revision, after its script and before the commit."""
        if not self._kept or not is_ready(self._session):
            return
        if self._computed is not None and (self._running.committed or self._running.outside):
            # What it wrote outside of this transaction was not noted.
            self._computed.unknown = True
        if waiting := [entry for entry in self._read() if entry.waits and entry.revision != self._running.name]:
            now = names(self._session)
            for entry in waiting:
                rename(self._session, entry, self._before, now)
        if mine := [entry for entry in self._read() if self._is_mine(entry)]:
            # Check the script's deferred constraints now: a table with pending checks cannot be altered.
            self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")
            with span("restore rows"), unchanging(self._session):
                self._restore(mine)

    def _is_mine(self, entry: Entry) -> bool:
        return self._running.name in (entry.revision, entry.waits)

    def _restore(self, mine: Sequence[Entry]) -> None:
        waiting = waits(mine, self._kept or [], self._running.following)
        for entry, revision in waiting:
            if entry.waits != revision:
                describe(self._session, replace(entry, waits=revision))
        later = {entry.id for entry, _ in waiting}
        step = self._running.step
        script = self._request.script(step).checksum if step is not None else ""
        restore = _RevisionRestore(self._session, self._running.name, script, self._before, self._computed)
        restore.make_room([entry for entry, _ in waiting])
        for entry, back, left in restore.all([preserved for preserved in mine if preserved.id not in later]):
            self._tell(entry, back, left)

    def _tell(self, entry: Entry, back: dict[str, int], left: Entry | None) -> None:
        session, running, request = self._session, self._running, self._request
        number = sum(back.values())
        if number or left is None:
            detail = {
                "revision": running.name,
                "what": entry.described(number),
                "kept": entry.place,
                "left": left.rows if left else 0,
                "why": dict(left.why) if left else {},
                **{name: getattr(entry, name) for name in ("id", "table", "columns")},
                "rows": number,
            }
            ledger.prepare(session)
            run = Run(running.before, running.before)
            ledger.note(session, Row(Event.PUT_BACK, run, detail), request.job.origin)
            for text in entry.parts(back):
                request.listener.kept(f"{running.name}: restored {text}")
        if left:
            reasons = "; ".join(f"{number:,}: {reason}" for reason, number in left.why.items())
            request.listener.kept(
                f"{running.name}: still preserved, {left.described(left.rows)} ({reasons}). See: pulumi-alembic kept"
            )


class _RevisionRestore:
    """Restores the entries of one revision: all at once, and if that fails, as many as possible."""

    def __init__(
        self, session: Connection, revision: str, script: str, before: Names, computed: Computed | None
    ) -> None:
        """Note the state before the restore.

        Args:
            session: the session of the revision.
            revision: its id.
            script: the checksum of its script.
            before: the tables from before the revision ran.
            computed: what a contract's downgrade computes. None for an upgrade.

        """
        self._session = session
        self._computed = computed
        self._revision = revision
        self._script = script
        self._before = before
        self._done: list[tuple[Entry, dict[str, int], Entry | None]] = []

    def all(self, entries: Sequence[Entry]) -> list[tuple[Entry, dict[str, int], Entry | None]]:
        """Restore these. Return each entry, how much of it was restored by column, and what remains of it."""
        merged = self._merged(entries)
        ids = {entry.id for entry in entries} - {values.id for _, values, _ in merged}
        entries = [entry for entry in read(self._session) if entry.id in ids]
        for older in (False, True):
            # Data that could not be restored earlier comes after the data from just before the downgrade.
            self._together([entry for entry in entries if bool(entry.why) is older])
        lefts = {entry.id: left for entry, _, left in self._done}
        for rows, values, target in merged:
            left = lefts[rows.id]
            still = numbers(self._session, left, values.columns) if left else {}
            back = {name: number - still.get(name, 0) for name, number in target.items()}
            self._done.append((values, back, None))
        return self._done

    def make_room(self, entries: Sequence[Entry]) -> None:
        """Delete rows that only the script inserted, for entries that wait for a later revision."""
        rows = self._rows([Part(entry, Target(self._session, entry)) for entry in entries if not entry.columns])
        rows = [row for row in rows if row.fresh]
        if not rows:
            return
        try:
            keys = read_keys(self._session, self._tree(row.oid for row in rows))
            with self._session.transaction(), quiet(self._session, [row.oid for row in rows], tables_of(keys)):
                for row in rows:
                    row.look()
                    row.clear(keys)
        except psycopg.Error as error:
            refusal(error)

    def _together(self, entries: Sequence[Entry]) -> None:
        parts: list[Part] = []
        values: list[Values] = []
        for entry in entries:
            target = Target(self._session, entry)
            if entry.columns:
                fresh, computed = self._fresh(entry, target), self._computed_of(target)
                values.append(restored := Values(self._session, entry, target, fresh, computed))
                obstacle = restored.obstacle
            else:
                parts.append(part := Part(entry, target))
                obstacle = part.obstacle(self._session)
            if obstacle:
                self._done.append((entry, {}, left_of(self._session, entry, obstacle)))
        obstructed = {entry.id for entry, *_ in self._done}
        rows = self._rows([unblocked for unblocked in parts if unblocked.entry.id not in obstructed])
        tables = _grouped(
            [value for value in values if value.entry.id not in obstructed],
            lambda column_values: column_values.target.oid,
        )
        if rows or tables:
            self._restore(rows, list(tables.values()))

    def _restore(self, rows: list[Rows], tables: list[list[Values]]) -> None:
        targets = [*(row.oid for row in rows), *(several[0].target.oid for several in tables)]
        tree = self._tree(targets)
        keys = read_keys(self._session, tree)
        rank = sorted_by_keys(targets, keys)
        rows.sort(key=lambda row: rank[row.oid])
        tables.sort(key=lambda several: rank[several[0].target.oid])
        restoration = _Restoration(self._session, rows, tables, keys)
        inside = [key for key in keys if {key.child_oid, key.parent_oid} <= {*tree}]
        refused = ""
        for how, checked_late in (
            (restoration.quickly, []),
            (restoration.thoroughly, inside),
            (restoration.one_by_one, inside),
        ):
            try:
                with (
                    self._session.transaction(),
                    quiet(self._session, targets, tables_of(keys)),
                    deferred(self._session, checked_late),
                ):
                    how()
            except psycopg.Error as error:
                refused = reason(error)
            except Unfit:
                continue
            else:
                refused = ""
                break
        for entry, back in restoration.back():
            set_sequences(self._session, entry)
            held = refused or restoration.held.get(entry.id, "")
            self._done.append((entry, {} if refused else back, left_of(self._session, entry, held)))

    def _rows(self, parts: Sequence[Part]) -> list[Rows]:
        return [
            Rows(
                self._session,
                several,
                fresh=self._is_new(oid) and all(self._is_same(part.entry) for part in several),
                computed=self._computed is not None and oid in self._computed.tables,
            )
            for oid, several in _grouped(
                [part for part in parts if part.target.there], lambda part: part.target.oid
            ).items()
        ]

    def _fresh(self, entry: Entry, target: Target) -> frozenset[str]:
        columns = target.columns.items() if self._is_same(entry) else ()
        return frozenset(name for name, column in columns if self._is_new(target.oid, column.number))

    def _computed_of(self, target: Target) -> frozenset[str]:
        computed = self._computed.columns if self._computed else ()
        return frozenset(name for name, column in target.columns.items() if (target.oid, column.number) in computed)

    def _is_new(self, table: int, column: int | None = None) -> bool:
        """Return whether this revision created the table or column, and computes nothing in it."""
        if self._computed is not None and self._computed.writes(table, column):
            return False
        if table not in self._before:
            return True
        return column is not None and column not in self._before[table][1]

    def _is_same(self, entry: Entry) -> bool:
        """Return whether the running script is the one whose other direction preserved all of this."""
        return (entry.revision, entry.script) == (self._revision, self._script) and not entry.why

    def _tree(self, tables: Iterable[int]) -> list[int]:
        [(tree,)] = self._session.execute(_TREE, [list(tables)]).fetchall()
        return list(tree or ())

    def _merged(self, entries: Sequence[Entry]) -> list[tuple[Entry, Entry, dict[str, int]]]:
        """Merge values of columns into rows of the same table. Return both entries, and how many values there are."""
        merged: list[tuple[Entry, Entry, dict[str, int]]] = []
        for rows in [entry for entry in entries if not entry.columns]:
            for values in [entry for entry in entries if entry.columns and entry.table in (rows.table, rows.into)]:
                try:
                    with self._session.transaction():
                        if merge(self._session, rows, values):
                            merged.append((rows, values, numbers(self._session, rows, values.columns)))
                except psycopg.Error as error:
                    refusal(error)
        return merged


class _Restoration:
    """The ways to restore rows and values, from the fastest to the most thorough. Each starts from the same state."""

    def __init__(
        self, session: Connection, rows: Sequence[Rows], tables: Sequence[Sequence[Values]], keys: Sequence[ForeignKey]
    ) -> None:
        self._session = session
        self._all = rows
        self._tables = tables
        self._keys = keys

    @property
    def held(self) -> dict[str, str]:
        """By entry id, the reason why none of its remaining rows is restored."""
        taken = [row for row in self._all if row.taken]
        return {part.entry.id: row.taken for row in taken for part in row.parts}

    @property
    def _rows(self) -> list[Rows]:
        return [row for row in self._all if not row.taken]

    def back(self) -> Iterator[tuple[Entry, dict[str, int]]]:
        """Yield each entry, and how much of it was restored."""
        for part in [part for row in self._all for part in row.parts]:
            yield part.entry, {"": part.back}
        for values in [value for several in self._tables for value in several]:
            yield values.entry, values.back

    def quickly(self) -> None:
        """Restore everything at once. Raises psycopg.Error if a row or value does not fit."""
        self._meet()
        for row in self._rows:
            row.insert()
        for several in self._tables:
            for values in several:
                values.prepare()
            write(self._session, several)
            for values in several:
                values.forget()

    def thoroughly(self) -> None:
        """Restore everything at once without unique constraints. The caller defers foreign keys."""
        with ExitStack() as stack:
            for several in self._tables:
                stack.enter_context(not_unique(self._session, several))
            self.quickly()

    def one_by_one(self) -> None:
        """Restore all that fit together, and note the reason of each other one."""
        try:
            with self._session.transaction():
                self._meet()
        except psycopg.Error as error:
            refusal(error)
            self._begin()
        for row in self._rows:
            row.mark()
        self._insert_marked()
        for several in self._tables:
            for values in several:
                values.prepare()
            try:
                with self._session.transaction(), not_unique(self._session, several):
                    write(self._session, several)
                    self._check()
            except psycopg.Error as error:
                refusal(error)
                self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")
                for values in several:
                    write_each(self._session, values)
                self._session.execute("SET CONSTRAINTS ALL DEFERRED")
            for values in several:
                values.forget()
        # Restored values can be what other rows refer to.
        if sum(row.forget_orphans() for row in self._rows):
            self._insert_marked()

    def _begin(self) -> None:
        for row in self._all:
            row.look()
            for part in row.parts:
                part.back = 0

    def _meet(self) -> None:
        """Find what exists already, and delete what only the script inserted."""
        self._begin()
        for row in reversed(self._all):
            row.clear(self._keys)
        for row in self._all:
            row.match()

    def _insert_marked(self) -> None:
        mark_orphans(self._session, self._rows, self._keys)
        went = [part.back for row in self._rows for part in row.parts]
        try:
            with self._session.transaction():
                self._insert_unmarked()
        except psycopg.Error as error:
            refusal(error)
            for part, number in zip([part for row in self._rows for part in row.parts], went, strict=True):
                part.back = number
            for row in self._rows:
                row.try_each()
            mark_orphans(self._session, self._rows, self._keys)
            self._insert_unmarked()

    def _insert_unmarked(self) -> None:
        for row in self._rows:
            row.insert_unmarked()
        self._check()

    def _check(self) -> None:
        self._session.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._session.execute("SET CONSTRAINTS ALL DEFERRED")


def _grouped(items: Iterable[_T], key: Callable[[_T], int]) -> dict[int, list[_T]]:
    groups: dict[int, list[_T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
