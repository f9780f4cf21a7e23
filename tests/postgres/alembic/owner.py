"""Sessions of a test's own, in which names are found as in a revision."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pulumi_alembic.database.connection import Connection, open_session, refusals

__all__ = ["connect"]


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """A session as the owner, with the login's search_path; what is not committed is rolled back."""
    with closing(open_session(url)) as session, refusals(session):
        yield session
