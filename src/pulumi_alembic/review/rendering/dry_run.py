"""One revision run against no database at all, through Alembic as an update would run it."""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import FrameType

import sqlalchemy as sa
from alembic import context
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from pulumi_alembic.database.connection import VERSION_SCHEMA
from pulumi_alembic.migrate.script_module import load
from pulumi_alembic.output.redact import redact
from pulumi_alembic.review.rendering.dependence import catches, fickle, needs_watch
from pulumi_alembic.review.rendering.influences import is_library, watched
from pulumi_alembic.review.rendering.recorder import Recorder, Unknowable
from pulumi_alembic.review.rendering.recording import recording_engine, take_down
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.revision import Revision

__all__ = ["DryRun", "first_line"]

_WIDTH = 200


class DryRun:
    """Runs revisions inside env.py, each with a connection that records; nothing else is open, and nothing is printed.

    A script is ended where it turns to something that only the update can know, before that happens.
    """

    def __init__(self, metadata: sa.MetaData) -> None:
        self._metadata = metadata
        self._recorder = Recorder(lambda: "", lambda: "", lambda: 0)
        self._engine = recording_engine(lambda: self._recorder)
        self._open: tuple[sa.Connection, MigrationContext] | None = None

    def close(self) -> None:
        """Close the connection."""
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def run(
        self, revision: Revision, direction: Direction
    ) -> tuple[tuple[tuple[str, bool], ...], str, tuple[int, ...]]:
        """What the revision sends, each with whether it is outside the transaction; or nothing, and why not; lines."""
        if reason := fickle(revision.source, direction):
            return (), reason, ()
        stack = _Stack(revision)
        recorder = self._recorder = Recorder(stack.place, stack.caught, stack.line)
        try:
            with _silence(), ExitStack() as watch:
                if needs_watch(revision.source):
                    watch.enter_context(watched([stack.path], recorder.refuse))
                self._call(revision, direction)
        except Unknowable:
            pass
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            recorder.reason = recorder.reason or f"{_line_of(error, stack.path)}raises {first_line(error)}"
        if recorder.reason:
            # It may have ended anywhere: the next one begins with a connection and a context of its own.
            self.close()
            return (), recorder.reason, ()
        return tuple(recorder.statements), "", tuple(recorder.lines)

    def _call(self, revision: Revision, direction: Direction) -> None:
        recorder = self._recorder
        script = load(revision)
        connection, migration = self._open or self._configured()
        if connection.get_execution_options():
            # Those of the revision before, which end with it.
            self.close()
            connection, migration = self._configured()
        take_down(connection, recorder)
        migration.opts["recorder"] = recorder
        migration.autocommit_block = recorder.block  # type: ignore[method-assign]
        with Operations.context(migration), migration.begin_transaction(_per_migration=True):
            try:
                getattr(script, direction)()
            finally:
                recorder.open = False

    def _configured(self) -> tuple[sa.Connection, MigrationContext]:
        """A connection, and Alembic's context on it: as in a run, one for all revisions."""
        connection = self._engine.connect()
        context.configure(
            connection=connection,
            target_metadata=self._metadata,
            version_table_schema=VERSION_SCHEMA,
            transaction_per_migration=True,
            compare_server_default=True,
        )
        self._open = connection, context.get_context()
        return self._open


class _Stack:
    """Where in the script the program is at this moment."""

    def __init__(self, revision: Revision) -> None:
        self.path = _path(revision)
        self._sources = {self.path: revision.source}

    def place(self) -> str:
        """`line 12: `, or nothing where no line of the script runs."""
        line = self.line()
        return f"line {line}: " if line else ""

    def line(self) -> int:
        """The innermost line of the script that runs, or 0."""
        return next((frame.f_lineno for frame in self._frames() if frame.f_code.co_filename == self.path), 0)

    def caught(self) -> str:
        """Why the script would go on if the statement that is sent failed; or nothing."""
        for frame in self._frames():
            for lines, reason in catches(self._source(frame.f_code.co_filename)):
                if frame.f_lineno in lines:
                    return reason
        return ""

    def _frames(self) -> Iterator[FrameType]:
        """Those of the script and of what it calls, without libraries; the innermost first."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not DryRun._call.__code__:
            if not is_library(frame.f_code.co_filename):
                yield frame
            frame = frame.f_back

    def _source(self, file: str) -> str:
        if file not in self._sources:
            self._sources[file] = ""
            with suppress(OSError, ValueError):
                self._sources[file] = Path(file).read_text()
        return self._sources[file]


def _path(revision: Revision) -> str:
    """As frames name it."""
    return os.path.abspath(revision.path)  # noqa: PTH100 - resolve() would follow links


@contextmanager
def _silence() -> Iterator[None]:
    """What a script prints and warns of, the update prints."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _line_of(error: BaseException, path: str) -> str:
    line, trace = 0, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == path else line
        trace = trace.tb_next
    return f"line {line}: " if line else ""


def first_line(error: BaseException) -> str:
    """An exception's kind and the first line of its text, without what may be a password."""
    # Addresses are others in each process, and a plan's digest is over this text.
    lines = re.sub(r"0x[0-9a-fA-F]+", "0x…", redact(str(error))).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:_WIDTH]}" if lines else type(error).__name__
