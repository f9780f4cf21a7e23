"""Check each statement of a revision before it runs: it must not delete rows unless the stack allows that.

Importing this module loads SQLAlchemy.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database.connection import read_catalog
from pulumi_alembic.database.literals import Unbindable, bound
from pulumi_alembic.errors import DataLoss, MigrationError
from pulumi_alembic.migrate.data_loss.plain_drops import holds_nothing, plain_drop
from pulumi_alembic.migrate.data_loss.static_check import CatalogOutline, may_rename
from pulumi_alembic.migrate.statement_error import as_its_error
from pulumi_alembic.output.tracing import span

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.migrate.data_loss.catalog_after import Tables
    from pulumi_alembic.migrate.data_loss.losses import Loss
    from pulumi_alembic.migrate.data_loss.preserve import Preserver
    from pulumi_alembic.migrate.job import Request
    from pulumi_alembic.migrate.step_follower import Running
    from pulumi_alembic.migrate.table_locks import Advance

__all__ = ["MARK", "Guard", "written"]

MARK = "/* data guard */"
"""Prefix of each statement that the guard itself sends, so that a server's log shows which ones are the script's."""

_SAVEPOINT = "pulumi_alembic_guard"

_SETTINGS = f"{MARK} SELECT current_setting('statement_timeout'), current_setting('row_security')".encode()
_LIMIT = f"{MARK} SELECT set_config('statement_timeout', %s, true), set_config('row_security', %s, true)".encode()


class Guard:
    """Raises DataLoss before a statement deletes rows or values, unless its revision is allowed to.

    They are counted under the lock that the statement needs, so that no session adds any meanwhile. Counting takes at
    most the policy's `count_timeout`. A statement whose text does not show what it deletes, such as a DO block, is run
    and compared with the state before it. It is rolled back if rows were deleted. Preserved rows do not count as lost.

    The parser and the code that counts are loaded only if a statement can delete something.
    """

    def __init__(self, session: Session, running: Running, request: Request, advance: Advance) -> None:
        self._session = session
        self._advance = advance
        self._suspects: frozenset[str] | None = None
        self._running = running
        self._request = request
        self._allowed = request.job.allow_data_loss
        self._limit = request.job.policy.count_timeout
        self._outline: CatalogOutline | None = None
        self._set = False
        self._unknown: Tables | None = None

    def follow(self, engine: sa.Engine) -> None:
        """Check every statement sent through `engine`. Its only connection is the session."""
        sa.event.listen(engine, "before_cursor_execute", self._before)
        sa.event.listen(engine, "after_cursor_execute", self._after)

    def complete(self) -> None:
        """Report what the revision preserved, after its script and before the commit."""
        if self._set:
            self._outline, self._set = None, False
        if "_preserver" in vars(self):
            self._preserver.complete()

    @cached_property
    def _preserver(self) -> Preserver:
        from pulumi_alembic.migrate.data_loss.preserve import Preserver

        return Preserver(self._session, self._running, self._request)

    def _before(
        self, connection: sa.Connection, _: object, text: str, parameters: Any, ___: object, many: bool
    ) -> None:
        self._unknown = self._suspects = None
        if self._running.step is None or self._session.autocommit or (self._may_lose and not self._preserver.keeps):
            return
        if self._session.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            # Nothing can be lost in an aborted transaction, and the statement fails by itself. A savepoint would only
            # hide that.
            return
        with as_its_error(self._session, connection, text, parameters):
            if self._advance.destroys and self._preserver.keeps:
                self._copy_ahead()
            sql = written(text, parameters, many=many)
            if self._may_take(sql):
                with span("data-loss guard"):
                    self._look(sql)

    def _copy_ahead(self) -> None:
        """Copy the values that the revision drops before it takes the locks that block other sessions."""
        from pulumi_alembic.migrate.data_loss.losses import losses

        catalog = read_catalog(self._session)
        for destroys in self._advance.destroys:
            self._preserver.copy_ahead(losses(destroys, catalog, apart=True))

    def _look(self, sql: str) -> None:
        """Check the statement before it runs."""
        from pulumi_alembic.migrate.data_loss.catalog_after import present
        from pulumi_alembic.migrate.data_loss.losses import losses
        from pulumi_alembic.sql.effects import effects

        catalog = read_catalog(self._session)
        seen_effects = effects(sql, catalog)
        if lost := losses(seen_effects.destroys, catalog):
            self._take(lost, {lock.table: lock.mode for lock in seen_effects.locks})
        if seen_effects.unknown or self._suspects:
            if seen_effects.unknown:
                self._suspects = None
                if self._preserver.keeps:
                    self._preserver.before  # noqa: B018 - read now
            if _moves_savepoints(sql):
                raise MigrationError(
                    "a savepoint and a statement that does not show what it deletes, in one text: pass each of them to "
                    "an op.execute() of its own"
                )
            self._unknown = present(self._session)
            self._session.execute(f"{MARK} SAVEPOINT {_SAVEPOINT}".encode())

    def _after(
        self, connection: sa.Connection, cursor: Any, text: str, parameters: Any, ___: object, many: bool
    ) -> None:
        before, self._unknown = self._unknown, None
        if before is None:
            return
        with span("data-loss guard"), as_its_error(self._session, connection, text, parameters):
            self._compare(before, cursor, text, parameters, many=many)

    def _compare(self, before: Tables, cursor: Any, text: str, parameters: Any, *, many: bool) -> None:
        """Compare the catalog after the statement ran."""
        from pulumi_alembic.migrate.data_loss.catalog_after import gone, present

        lost, touched = gone(before, present(self._session))
        if not lost and not touched:
            self._session.execute(f"{MARK} RELEASE SAVEPOINT {_SAVEPOINT}".encode())
            return
        touched = [loss for loss in touched if self._suspects is None or loss.table in self._suspects]
        if keeps := self._preserver.keeps:
            self._preserver.look()
        left = [] if self._may_lose else self._counted(touched)
        self._session.execute(f"{MARK} ROLLBACK TO SAVEPOINT {_SAVEPOINT}; RELEASE SAVEPOINT {_SAVEPOINT}".encode())
        if keeps:
            lost = self._preserver.preserve(lost, written(text, parameters, many=many))
        if not self._may_lose:
            self._refuse([*lost, *touched], {}, [0] * len(lost) + left)
        (cursor.executemany if many else cursor.execute)(text, parameters)
        self._preserver.tidy()

    @property
    def _may_lose(self) -> bool:
        return self._running.name in self._allowed

    def _take(self, lost: Sequence[Loss], modes: Mapping[str, str]) -> None:
        """Refuse the statement.

        If rows are preserved, try it first, because only that shows exactly what it deletes.
        """
        if not self._preserver.keeps:
            self._refuse(lost, modes)
            return
        self._preserver.count(lost)
        self._lock(lost, modes)
        if self._preserver.any(lost):
            self._suspects = frozenset(loss.table for loss in lost)

    def _may_take(self, sql: str) -> bool:
        """Return whether the statement can delete something, so that the catalog must be read.

        Most statements are decided without the server. For a plain drop, one answer of the server shows whether
        anything is lost.
        """
        if _ONLY_SETS.fullmatch(sql):
            # Send nothing before it: SET TRANSACTION must be the first statement of its transaction.
            self._outline, self._set = None, True
            return False
        if may_rename(sql) and self._preserver.keeps:
            self._preserver.before  # noqa: B018 - read now
        if dropped := plain_drop(sql):
            if dropped.tables and self._preserver.keeps and self._preserver.fills_tables:
                return True
            if dropped.column and self._preserver.keeps and self._preserver.fills_columns:
                dropped = replace(dropped, nulls=True)
            return not self._advance.holds(lambda: holds_nothing(self._session, dropped, self._limit, MARK))
        outline = self._outline = self._outline or CatalogOutline.read(self._session)
        if outline.may_change_by(sql):
            # The session's search_path is reset at the end of the revision, so the outline is read again.
            self._outline, self._set = None, True
        return outline.may_lose_by(sql)

    def _refuse(self, lost: Sequence[Loss], modes: Mapping[str, str], left: Sequence[int] = ()) -> None:
        """Raise DataLoss if the statement would delete any of `lost`.

        Args:
            lost: what it can delete.
            modes: the locks that the statement itself takes, by table.
            left: how many rows or values of each would remain.

        """
        self._lock(lost, modes)
        numbers = zip(self._preserver.named(lost), self._counted(lost), left or [0] * len(lost), strict=True)
        if lines := [loss.described(number - stays) for loss, number, stays in numbers if number > stays]:
            self._running.refuse(DataLoss(f"it would delete {', '.join(lines)}{self._preserver.advice}"))

    def _lock(self, lost: Sequence[Loss], modes: Mapping[str, str]) -> None:
        self._advance.take()
        for table in dict.fromkeys(loss.table for loss in lost):
            # From here on no session can add a row, even if the statement's own lock would allow that.
            mode = modes.get(table, "ACCESS EXCLUSIVE")
            mode = "SHARE ROW EXCLUSIVE" if mode == "ROW EXCLUSIVE" else mode
            self._session.execute(f"{MARK} LOCK TABLE {table} IN {mode} MODE".encode())

    def _counted(self, lost: Sequence[Loss]) -> list[int]:
        """Return the number of rows or values of each.

        Raises DataLoss if counting takes too long or is not allowed. The transaction is aborted then, because the same
        limit would interrupt rolling back to a savepoint.
        """
        if not lost:
            return []
        from pulumi_alembic.migrate.data_loss.losses import count, estimate

        about, named = estimate(self._session, lost), self._preserver.named(lost)
        [settings] = self._session.execute(_SETTINGS).fetchall()
        try:
            # Rows hidden by a policy would be deleted too. With row_security off the server refuses an incomplete
            # count.
            self._session.execute(_LIMIT, [str(round(self._limit * 1000)), "off"])
            numbers = count(self._session, lost)
            self._session.execute(_LIMIT, settings)
        except (psycopg.errors.QueryCanceled, psycopg.errors.InsufficientPrivilege):
            texts = [
                loss.described(number, about=number is not None) for loss, number in zip(named, about, strict=True)
            ]
            self._running.refuse(DataLoss(f"it would delete {', '.join(texts)}{self._preserver.advice}"))
        return numbers


_ONLY_SETS = re.compile(r"\s*(?:SET|RESET)\s[^;]*;?\s*", re.IGNORECASE)


def _moves_savepoints(sql: str) -> bool:
    """Return whether the text can end a savepoint that was set before it, or set a newer one."""
    if not _SAVEPOINTS.search(sql):
        return False
    from pulumi_alembic.sql.parser import ParseError, parse

    try:
        return any(node.tag == "TransactionStmt" for node in parse(sql))
    except ParseError:
        return True


_SAVEPOINTS = re.compile(r"(?i)\b(?:savepoint|release|rollback)\b")


def written(text: str, parameters: Any, *, many: bool) -> str:
    """Return the statement with its parameters inserted, the first ones of several.

    If the parameters do not fit, the text is returned unchanged. It fails by itself.
    """
    with suppress(Unbindable):
        return bound(text, parameters[0] if many and parameters else parameters)
    return text
