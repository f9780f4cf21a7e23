"""Sessions of a test that find names as a revision does."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pulumi_alembic.database.connection import Connection, open_session, refusals

__all__ = ["connect"]


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """Open a session as the owner, with the login's search_path. Uncommitted changes are rolled back."""
    with closing(open_session(url)) as session, refusals(session):
        yield session
