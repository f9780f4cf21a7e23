"""Report an error of this library's own statements as an error of the script's statement that caused them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from pulumi_alembic.database.connection import own_rows

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Session

__all__ = ["as_its_error"]


@contextmanager
def as_its_error(session: Session, connection: sa.Connection, text: str, parameters: Any) -> Iterator[None]:
    """Raise a server error within the block as SQLAlchemy's error of the script's statement.

    Args:
        session: the session of the attempt.
        connection: the SQLAlchemy connection on it.
        text: the script's statement.
        parameters: its parameters.

    """
    try:
        with own_rows(session):
            yield
    except psycopg.Error as error:
        if aborted := session.aborted:
            session.aborted = replace(aborted, statement=text)
        raised = sa.exc.DBAPIError.instance(text, parameters, error, psycopg.Error, dialect=connection.dialect)
        raise raised from error
