"""Conditions to wait for instead of sleeping, and what is waited for: sessions that block, and texts that are told."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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


class Told:
    """A callback that keeps what it is told."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._changed = threading.Condition()

    def __call__(self, text: str) -> None:
        with self._changed:
            self.texts.append(text)
            self._changed.notify_all()

    def wait_for(self, *parts: str) -> str:
        """The first text with all of these parts, as soon as it is told."""

        def found() -> str | None:
            return next((text for text in self.texts if all(part in text for part in parts)), None)

        with self._changed:
            assert self._changed.wait_for(found, LONGEST), f"none of these has {parts}: {self.texts}"
            return found() or ""


@contextmanager
def blocker(target: Target, statement: str) -> Iterator[psycopg.Connection]:
    """A session of the owner's that has run `statement` in a transaction, which is open until the block ends."""
    session = open_session(target.url)
    session.execute("SET application_name = 'the report'")
    session.execute(statement.encode())
    with session:
        yield session


def wants_lock(target: Target, relation: str) -> bool:
    """Whether a session waits for a lock on this relation."""
    return target.query(
        f"SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '{relation}'::regclass)"
    ) == [(True,)]


@contextmanager
def killed_command(target: Target, *arguments: str) -> Iterator[None]:
    """The `alembic` command with these arguments, which runs beside the block and is killed at its end."""
    target.alembic("history")
    with subprocess.Popen(
        [Path(sys.executable).with_name("alembic"), *arguments],
        cwd=target.directory.parent,
        env=os.environ | {"DATABASE_URL": target.url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
        finally:
            process.kill()
