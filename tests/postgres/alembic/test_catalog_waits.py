"""An operation that only reads the catalog reports which session's lock it waits for, and continues or names it."""

import pytest

from pulumi_alembic.database import sessions
from pulumi_alembic.drift import reader
from pulumi_alembic.errors import DatabaseError
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import Told, blocker


@pytest.fixture
def locked(empty_target: Target, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A table that the server locks to print its default, index and constraint."""
    monkeypatch.setattr(sessions, "_AFTER", 0.1)
    with connect(empty_target.url) as connection:
        connection.execute("CREATE TABLE tags (id int PRIMARY KEY DEFAULT 1 CHECK (id > 0))")
        connection.commit()
    return empty_target


def test_a_snapshot_is_read_as_soon_as_the_lock_is_free(locked: Target) -> None:
    with blocker(locked, "LOCK TABLE tags") as holder, connect(locked.url) as connection:
        told: list[str] = []

        def release(text: str) -> None:
            told.append(text)
            holder.rollback()

        found = reader.read(connection, tell=release)
        assert ("column", "app.tags.id") in found.by_key
        assert [text.partition(",")[0] for text in told] == [
            f"waiting for pid {holder.info.backend_pid} (user {holder.info.user}"
        ]


def test_a_wait_that_does_not_end_names_who_holds_the_lock(locked: Target) -> None:
    told = Told()
    with (
        sessions.waits(print, 0.6),
        blocker(locked, "LOCK TABLE tags") as holder,
        pytest.raises(DatabaseError) as caught,
    ):
        pid, user = holder.info.backend_pid, holder.info.user
        with connect(locked.url) as connection:
            reader.read(connection, tell=told)
    message = str(caught.value)
    assert f"for pid {pid} (user {user}, application the report" in message
    assert message.endswith(f"\n  SELECT pg_terminate_backend({pid})")
    assert len(told.texts) == 1
