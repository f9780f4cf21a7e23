"""A session in a rehearsal: every statement of a script is seen, and every commit is checked first."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg._cursor_base import BaseCursor

from pulumi_alembic.errors import NotRehearsed

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["PlainCursor", "watch"]


class PlainCursor(psycopg.Cursor[Any]):
    """A cursor of this library, which is not observed."""


def watch(session: Connection, is_scripts: Callable[[], bool], before_commit: Callable[[], None]) -> None:
    """Call `before_commit` before each commit of the session from now on. It can raise to prevent the commit.

    A script that makes a cursor without the session's own factory raises NotRehearsed when it sends a statement.
    """
    session.commit = partial(_commit, session, before_commit)  # type: ignore[method-assign]
    session.wait = partial(_wait, session, is_scripts)  # type: ignore[method-assign]


def _commit(session: Connection, before: Callable[[], None]) -> None:
    before()
    psycopg.Connection.commit(session)


def _wait(session: Connection, is_scripts: Callable[[], bool], *args: Any, **kw: Any) -> Any:
    """Check the cursor that sends: psycopg sends everything through its connection's wait()."""
    sender = sys._getframe(1).f_locals.get("self")
    ours = isinstance(sender, PlainCursor) or hasattr(sender, "observer")
    if isinstance(sender, BaseCursor) and not ours and is_scripts():
        raise NotRehearsed("it sends statements over a cursor of its own")
    return type(session).wait(session, *args, **kw)
