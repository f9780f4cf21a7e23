"""Takes a database for what a revision builds: nothing of it runs, and no row but those of the migration tables."""

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
    """Take the database over before `around` is entered. Raises AdoptionError where it changed since it was looked at.

    All in one transaction: the heads, a row of the ledger for each revision, and the end of an `alembic_version` in the
    schema public.
    """
    history = job.read_history()
    with connect(job.url) as connection:
        if not read_heads(connection):
            moved = read_public(connection)
            # A revision that changes rows alone leaves the same catalog.
            if objects(read(connection)).digest != adopted.digest or moved not in ((), adopted.heads):
                raise AdoptionError(f"the database has changed since it was looked at. Again: {job.command}")
            # The reading left the session without a search_path, which these statements do not need.
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
