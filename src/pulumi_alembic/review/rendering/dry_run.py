"""Run one revision without a database, through Alembic as an update does."""

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
    """Runs revisions inside env.py with a connection that records. It opens no other connection and prints nothing.

    A script ends before it reads anything that only the update can know.
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
        """Run one revision.

        Returns:
            The statements, each with whether it runs outside of the transaction. The reason why they are not known, or
            an empty text. The lines of the script that send them.

        """
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
            # The script can have ended anywhere, so the next one gets a new connection and context.
            self.close()
            return (), recorder.reason, ()
        return tuple(recorder.statements), "", tuple(recorder.lines)

    def _call(self, revision: Revision, direction: Direction) -> None:
        recorder = self._recorder
        script = load(revision)
        connection, migration = self._open or self._configured()
        if connection.get_execution_options():
            # The previous revision set these options, which end with it.
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
        """Return a connection and Alembic's context on it, which all revisions share, as in a real run."""
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
    """The current position in the script."""

    def __init__(self, revision: Revision) -> None:
        self.path = _path(revision)
        self._sources = {self.path: revision.source}

    def place(self) -> str:
        """Return `line 12: `, or an empty text if no line of the script runs."""
        line = self.line()
        return f"line {line}: " if line else ""

    def line(self) -> int:
        """Return the innermost running line of the script, or 0."""
        return next((frame.f_lineno for frame in self._frames() if frame.f_code.co_filename == self.path), 0)

    def caught(self) -> str:
        """Return why the script continues if the current statement fails. Empty if it does not."""
        for frame in self._frames():
            for lines, reason in catches(self._source(frame.f_code.co_filename)):
                if frame.f_lineno in lines:
                    return reason
        return ""

    def _frames(self) -> Iterator[FrameType]:
        """Return the frames of the script and of what it calls, except libraries, the innermost first."""
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
    """Return the path as frames name it."""
    return os.path.abspath(revision.path)  # noqa: PTH100 - resolve() would follow links


@contextmanager
def _silence() -> Iterator[None]:
    """Discard a script's output and warnings. The update prints them."""
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
    """Return an exception's type and the first line of its text, without passwords."""
    # Addresses differ in each process, but the plan's digest covers this text.
    lines = re.sub(r"0x[0-9a-fA-F]+", "0x…", redact(str(error))).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:_WIDTH]}" if lines else type(error).__name__
