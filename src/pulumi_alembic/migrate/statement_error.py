"""What this library sends on behalf of a script's statement, before or behind it, fails as that statement would."""

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
    """Raise what the server refuses within the block as what it is to the script: an error of its statement."""
    try:
        with own_rows(session):
            yield
    except psycopg.Error as error:
        if aborted := session.aborted:
            session.aborted = replace(aborted, statement=text)
        raised = sa.exc.DBAPIError.instance(text, parameters, error, psycopg.Error, dialect=connection.dialect)
        raise raised from error
