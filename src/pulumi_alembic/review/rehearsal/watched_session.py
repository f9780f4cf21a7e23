"""A session of a rehearsal, over which a script sends nothing that is not seen, and commits nothing of the server."""

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
    """A cursor that this library makes."""


def watch(session: Connection, is_scripts: Callable[[], bool], before_commit: Callable[[], None]) -> None:
    """From here on `before_commit` is called before each commit, and may raise.

    A cursor that a script makes itself, and not by the session, which would tell a looker, raises NotRehearsed.
    """
    session.commit = partial(_commit, session, before_commit)  # type: ignore[method-assign]
    session.wait = partial(_wait, session, is_scripts)  # type: ignore[method-assign]


def _commit(session: Connection, before: Callable[[], None]) -> None:
    before()
    psycopg.Connection.commit(session)


def _wait(session: Connection, is_scripts: Callable[[], bool], *args: Any, **kw: Any) -> Any:
    """All that psycopg sends goes through its connection's wait()."""
    sender = sys._getframe(1).f_locals.get("self")
    ours = isinstance(sender, PlainCursor) or hasattr(sender, "observer")
    if isinstance(sender, BaseCursor) and not ours and is_scripts():
        raise NotRehearsed("it sends statements over a cursor of its own")
    return type(session).wait(session, *args, **kw)
