"""Adopt a database: record the revisions as applied without running them. Only migration tables are changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from pulumi_alembic.adoption.matching import Adopted, objects, read_public
from pulumi_alembic.database.connection import VERSION_TABLE, add_heads, connect, read_heads
from pulumi_alembic.drift.reader import read
from pulumi_alembic.errors import AdoptionError
from pulumi_alembic.ledger import ledger
from pulumi_alembic.migrate.job import Job

__all__ = ["first"]


@contextmanager
def first(adopted: Adopted, job: Job, around: AbstractContextManager[object]) -> Iterator[None]:
    """Adopt the database, then enter `around` for the block.

    One transaction records the heads, adds a ledger row for each revision and drops an `alembic_version` in the schema
    public.

    Raises:
        AdoptionError: the database has changed since it was compared. Nothing was recorded.

    """
    history = job.read_history()
    with connect(job.url) as connection:
        if not read_heads(connection):
            moved = read_public(connection)
            # Revisions that only change rows leave the same catalog, so the heads are compared too.
            if objects(read(connection)).digest != adopted.digest or moved not in ((), adopted.heads):
                raise AdoptionError(f"the database has changed since it was looked at. Again: {job.command}")
            # Reading has emptied the session's search_path, which these statements do not need.
            ledger.prepare(connection)
            add_heads(connection, adopted.heads)
            detail: Mapping[str, Any] = {"moved": f"public.{VERSION_TABLE}"} if moved else {}
            origin = job.origin.completed(job.directory)
            ledger.adopt(connection, history, adopted.heads, origin, detail)
            if moved:
                connection.execute(f"DROP TABLE public.{VERSION_TABLE}".encode())
            connection.commit()
    with around:
        yield
