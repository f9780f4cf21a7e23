"""Conditions to wait for instead of sleeping, and helpers for them: blocking sessions, and recorded messages."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from pulumi_alembic.database.connection import open_session
from tests.postgres.alembic.conftest import Target

LONGEST = 60.0  # seconds, after which a test fails


def until(condition: Callable[[], object]) -> None:
    """Return as soon as the condition holds."""
    deadline = time.monotonic() + LONGEST
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def writes(target: Target) -> list[tuple[object, ...]]:
    """Return how many rows of each table were inserted, updated and deleted, as soon as all that is there is counted.

    Before PostgreSQL 15, a session's writes are counted some time after their commit.
    """

    def counted() -> bool:
        tables = target.query("SELECT relid::regclass::text, n_live_tup FROM pg_stat_user_tables")
        return all(target.query(f"SELECT count(*) FROM {table}") == [(live,)] for table, live in tables)

    until(counted)
    return target.query("SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY 1")


class Told:
    """A callback that records its messages."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait_for(self, *parts: str) -> str:
        """Return the first message with all of these parts, as soon as it arrives."""

        def found() -> str | None:
            return next((text for text in self.texts if all(part in text for part in parts)), None)

        with self._changed:
            assert self._changed.wait_for(found, LONGEST), f"none of these has {parts}: {self.texts}"
            return found() or ""


@contextmanager
def blocker(target: Target, statement: str) -> Iterator[psycopg.Connection]:
    """Open a session of the owner that runs `statement` in a transaction, which stays open until the block ends."""
    session = open_session(target.url)
    session.execute("SET application_name = 'the report'")
    session.execute(statement.encode())
    with session:
        yield session


def wants_lock(target: Target, relation: str) -> bool:
    """Return whether a session waits for a lock on this relation."""
    return target.query(
        f"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '{relation}'::regclass)"
    ) == [(True,)]
