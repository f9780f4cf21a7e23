"""The tables of an application's models as values, with types as PostgreSQL's dialect writes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from pulumi_alembic.sql.catalog import Column

if TYPE_CHECKING:
    from pulumi_alembic.sql.catalog import Models

__all__ = ["models_of"]


def models_of(metadata: sa.MetaData) -> Models:
    """Return the columns of each table. A type that the dialect cannot write is empty."""
    return {
        (table.schema or "", table.name): {
            column.name: Column(_type(column), not column.nullable) for column in table.columns
        }
        for table in metadata.tables.values()
    }


def _type(column: sa.Column[object]) -> str:
    try:
        return str(column.type.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]
    except sa.exc.CompileError:
        return ""
