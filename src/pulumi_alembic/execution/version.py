"""The UPDATE that records each revision, made once for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from pulumi_alembic.database import VERSION_SCHEMA, VERSION_TABLE

if TYPE_CHECKING:
    from pulumi_alembic.running import Running

__all__ = ["update_by_parameters"]

_UPDATE = sa.text(f"UPDATE {VERSION_SCHEMA}.{VERSION_TABLE} SET version_num = :now WHERE version_num = :before")  # noqa: S608 - names of ours


def update_by_parameters(engine: sa.Engine, running: Running) -> None:
    """An upgrade's UPDATE of the version table has its two ids as parameters; every other statement is left as it is.

    Alembic 1.20 writes the ids into its text. So SQLAlchemy would compile it, and PostgreSQL plan it, for each revision
    anew, which takes as long as a small revision itself.
    """

    def before_execute(_: sa.Connection, statement: Any, many: Any, one: Any, __: Any) -> tuple[Any, Any, Any]:
        before = _left(statement) if running.upgrades else None
        if before is None:
            return statement, many, one
        return _UPDATE, (), {"now": running.name, "before": before}

    sa.event.listen(engine, "before_execute", before_execute, retval=True)


def _left(statement: Any) -> str | None:
    """The revision that Alembic's UPDATE of the version table leaves; None for any other statement."""
    if not isinstance(statement, sa.Update) or not isinstance(statement.table, sa.Table):
        return None
    where = statement.whereclause
    if statement.table.fullname != f"{VERSION_SCHEMA}.{VERSION_TABLE}" or not isinstance(where, sa.BinaryExpression):
        return None
    literal = getattr(where.right, "name", "")
    return literal[1:-1] if literal[:1] == literal[-1:] == "'" else None
