"""Find what makes a script do something else at its next run: whatever it reads besides the database.

Calls at any depth are seen and prevented. Not seen are the work of imported modules at their import, the order of
their sets, and what a C extension does by itself. A script that catches BaseException and continues is reported to run
Python anyway.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pkgutil
import platform
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import alembic
import psycopg
import sqlalchemy

__all__ = ["is_library", "watched"]

_LIBRARIES = tuple(f"{Path(str(library.__file__)).parent}{os.sep}" for library in (alembic, psycopg, sqlalchemy))
_OURS = f"{Path(__file__).parent.parent}{os.sep}"

_CONTEXTLIB = str(contextlib.__file__)


def is_library(file: str) -> bool:
    """Return whether a file belongs to this package or to a library that runs scripts. None of them catches errors."""
    return file == _CONTEXTLIB or file.startswith((_OURS, *_LIBRARIES))


_CODES: dict[CodeType, str] = {
    type(os.environ).__getitem__.__code__: "an environment variable",
    type(os.environ).__iter__.__code__: "the environment variables",
    psycopg.Connection.connect.__func__.__code__: "a connection of its own",  # type: ignore[attr-defined]
    psycopg.AsyncConnection.connect.__func__.__code__: "a connection of its own",  # type: ignore[attr-defined]
    pkgutil.get_data.__code__: "a file",
    # These functions cache what they read, so only the first call would be seen below them.
    **{member.__code__: "the machine" for member in vars(platform).values() if isinstance(member, FunctionType)},
}
_OWNERS = {
    "time": "the time",
    "posix": "the system",
    "nt": "the system",
    "random": "random numbers",
    "_random": "random numbers",
    "_uuid": "random numbers",
    "_socket": "the network",
    "socket": "the network",
    "_posixsubprocess": "another program",
    "_sqlite3": "another database",
    "sqlite3": "another database",
    "_thread": "another thread",
    "_interpreters": "another interpreter",
    "_io": "a file",
    "io": "a file",
    "datetime": "the time",
}
_ONLY = {
    "datetime": {"now", "utcnow", "today"},
    "_io": {"open", "open_code"},
    "io": {"open", "open_code"},
    "_thread": {"start_new_thread", "start_joinable_thread"},
    "sqlite3": {"connect"},
    "_sqlite3": {"connect"},
}
_PURE = {"fspath", "strptime", "mktime"}


@contextmanager
def watched(paths: Collection[str], refuse: Callable[[str], Any]) -> Iterator[None]:
    """Call `refuse` before a script at one of these paths reads anything besides the database.

    Work that libraries do for themselves, such as logging and importing, does not count.

    Args:
        paths: The files of the scripts.
        refuse: Receives what would be read, and raises.

    """

    def look(frame: FrameType, event: str, arg: Any) -> None:
        if event == "c_call":
            call = _asked_of_c(arg)
        elif event == "call":
            call = _CODES.get(frame.f_code, "")
        else:
            return
        if call and _is_of(paths, frame, direct=event == "c_call"):
            refuse(f"reads {call}" if not call.startswith("a connection") else f"opens {call}")

    before, collects = sys.getprofile(), gc.isenabled()
    # A finaliser would seem to be called by the line at which the garbage is collected.
    gc.disable()
    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def _asked_of_c(called: Any) -> str:
    owner = called.__module__
    if owner is None:
        of = getattr(called, "__self__", None)
        owner = (of if isinstance(of, type) else type(of)).__module__
    module = _OWNERS.get(owner, "")
    if not module or called.__name__ in _PURE or called.__name__ not in _ONLY.get(owner, {called.__name__}):
        return ""
    return f"{module} ({called.__name__})"


def _is_of(paths: Collection[str], frame: FrameType, *, direct: bool) -> bool:
    """Return whether a script is behind a call. The defaults that it gives to SQLAlchemy are called from schema.py."""
    file = frame.f_code.co_filename
    if direct and file.startswith(_LIBRARIES) and not file.endswith("schema.py"):
        return False
    at: FrameType | None = frame
    while at is not None:
        file = at.f_code.co_filename
        if file in paths:
            return True
        if file.startswith((_OURS, "<frozen importlib")) or f"{os.sep}logging{os.sep}" in file:
            return False
        at = at.f_back
    return False
