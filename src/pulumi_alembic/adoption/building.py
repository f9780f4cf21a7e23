"""What each revision builds: run one after the other in a scratch database with the target's schemas and roles."""

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
    """Each revision with what there is after it, of a database that is `like` the target and has none of its objects.

    `url` is the migrator's at the target, `admin` a login of the same server that may make databases. Raises
    NotRehearsed where the scratch database cannot be made, or a revision does not run there. It is gone at the end.
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
