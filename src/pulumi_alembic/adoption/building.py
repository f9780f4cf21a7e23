"""Build the revisions one after the other in a scratch database with the schemas and roles of the target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pulumi_alembic.database.connection import connect
from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.drift.difference.snapshot import Snapshot
from pulumi_alembic.drift.reader import read
from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.review.rehearsal.furniture import furnish
from pulumi_alembic.review.rehearsal.scratch import at, scratch
from pulumi_alembic.review.rehearsal.scratch_run import perform
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.revision import Revision

__all__ = ["built"]


@contextmanager
def built(
    url: str, admin: str, history: History, revisions: Sequence[Revision], like: Snapshot
) -> Iterator[Iterator[tuple[Revision, Snapshot]]]:
    """Yield an iterator over the revisions, each with the snapshot after it.

    They run in a scratch database that is `like` the target, without its objects. The scratch database is dropped at
    the end.

    Args:
        url: the migrator's URL of the target.
        admin: the URL of a login on the same server that can create databases.
        history: the scripts.
        revisions: the revisions to build, in order.
        like: the snapshot of the target.

    Raises:
        NotRehearsed: the scratch database cannot be created, or a revision fails there.

    """
    with scratch(admin, url, find_client) as database:
        furnish(database, like)
        yield _build(at(url, database.name), history, revisions, like.roles)


def _build(
    url: str, history: History, revisions: Sequence[Revision], roles: Sequence[str]
) -> Iterator[tuple[Revision, Snapshot]]:
    heads: set[str] = set()
    for revision in revisions:
        done = perform(url, Plan(tuple(sorted(heads)), revision.id, Direction.UPGRADE, (revision,)), history, None)
        if done.failed:
            raise NotRehearsed(f"revision {revision.id} fails in an empty database: {done.failed}")
        heads = heads - set(revision.down_revisions) | {revision.id}
        with connect(url) as connection:
            yield revision, read(connection, roles)
