"""The UPDATE that records each revision, made once for all of them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pulumi_alembic.database import VERSION_SCHEMA, VERSION_TABLE

__all__ = ["update_by_parameters"]

_UPDATE = sa.text(f"UPDATE {VERSION_SCHEMA}.{VERSION_TABLE} SET version_num = :now WHERE version_num = :before")  # noqa: S608 - names of ours


def update_by_parameters(engine: sa.Engine) -> None:
    """The UPDATE of the version table has its two ids as parameters; every other statement is left as it is.

    Alembic 1.20 writes the ids into its text. So SQLAlchemy would compile it, and PostgreSQL plan it, for each revision
    anew, which takes as long as a small revision itself.
    """

    def before_execute(_: sa.Connection, statement: Any, many: Any, one: Any, __: Any) -> tuple[Any, Any, Any]:
        ids = _ids(statement)
        return (_UPDATE, (), ids) if ids else (statement, many, one)

    sa.event.listen(engine, "before_execute", before_execute, retval=True)


def _ids(statement: Any) -> dict[str, str] | None:
    """The revision that Alembic's UPDATE of the version table leaves, and the one it comes to; None for any other."""
    if not isinstance(statement, sa.Update) or not isinstance(statement.table, sa.Table):
        return None
    where = statement.whereclause
    if statement.table.fullname != f"{VERSION_SCHEMA}.{VERSION_TABLE}" or not isinstance(where, sa.BinaryExpression):
        return None
    # Private in SQLAlchemy 2.1, which shows the values nowhere else but in the compiled statement.
    values = [*(getattr(statement, "_values", None) or {}).values()]
    before, now = _literal(where.right), _literal(values[0]) if len(values) == 1 else None
    return {"before": before, "now": now} if before and now else None


def _literal(element: Any) -> str | None:
    text = getattr(element, "name", "")
    return text[1:-1] if text[:1] == text[-1:] == "'" else None
