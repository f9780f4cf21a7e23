"""The state file during an operation: foreign changes are never overwritten, and no state is lost."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.checkpoint import checkpoint_document, encoded, exported, parse_checkpoint
from pulumi_embedded.storage.files import keep_backup, remove_leftovers, write_atomically
from pulumi_embedded.storage.integrity import DamagedState

__all__ = ["StateFile"]


class StateFile:
    """One stack's state file, as this process knows it. After a failed write, later states go to another file."""

    def __init__(self, path: Path, owner: str, backups: Path, prepare: Callable[[], None]) -> None:
        self.path = path
        self._prepare = prepare
        self._owner = owner
        self._backups = backups
        self._known: tuple[int, ...] | None = None
        self._elsewhere: Path | None = None
        self._failure = ""

    @property
    def backup(self) -> Path:
        """The file with the state before the last write."""
        return self.path.with_name(self.path.name + ".bak")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Add the file, and the places of older ones, to the error about a damaged state in the block."""
        try:
            yield
        except DamagedState as error:
            raise EngineError(
                f"{error}\n  file: {self.path}\n  The state before the last write is {self.backup.name} beside it; "
                f"older ones are under {self._backups}."
            ) from None

    def read(self) -> dict[str, Any] | None:
        """Return the deployment in the file. Raises EngineError if the file is no state file."""
        with self.explained():
            try:
                with self.path.open(encoding="utf-8") as file:
                    self._known = _signature(os.fstat(file.fileno()))
                    return parse_checkpoint(file.read())
            except UnicodeDecodeError as error:
                raise DamagedState(f"it is no text ({error.reason} at byte {error.start})") from None
            except OSError as error:
                raise EngineError(f"the state file {self.path} cannot be read: {error.strerror}") from None

    def write(self, deployment: dict[str, Any]) -> None:
        """Make the deployment the content of the file. On return it is on disk.

        Raises:
            EngineError: The file cannot be written, or another program has changed it. It keeps its content. The error
                names the file with this deployment, to which later deployments are written without a further error.

        """
        if self._elsewhere is not None:
            self._keep(self._elsewhere, deployment)
            return
        if not self._failure:
            try:
                self._replace(deployment)
                return
            except EngineError as error:
                self._failure = str(error)
        raise EngineError(f"{self._failure}\n{self._keep_somewhere(deployment)}")

    def _replace(self, deployment: dict[str, Any]) -> None:
        if self._known is not None and self._changed():
            raise EngineError(
                f"something else has changed the state file {self.path} while this operation ran; it is left as it is"
            )
        self._prepare()
        content = encoded(checkpoint_document(self._owner, deployment))
        remove_leftovers(self.path)
        keep_backup(self.path, self.backup)
        write_atomically(self.path, content)
        self._known = _signature(self.path.stat())

    def _changed(self) -> bool:
        # A removed file is written again, because there is nothing to overwrite.
        try:
            return _signature(self.path.stat()) != self._known
        except FileNotFoundError:
            return False

    def _keep_somewhere(self, deployment: dict[str, Any]) -> str:
        """Write the deployment to another place, and return a text that names it."""
        name = f"{self.path.stem}.{time.time_ns()}.unsaved.json"
        for place in (self._backups / name, Path(tempfile.gettempdir()) / name):
            try:
                if place.parent == self._backups:
                    self._prepare()
                self._keep(place, deployment)
            except EngineError:
                continue
            self._elsewhere = place
            stack = self._owner.rpartition("/")[2]
            return (
                f"  What this operation came to is in {place}; to make it the state:\n"
                f"  pulumi-embedded stack import --stack {stack} --file {place}"
            )
        return (
            "  Nothing else can be written either. This is what the operation has come to; put it into a file for "
            f"`pulumi-embedded stack import --file FILE`:\n{encoded(exported(deployment)).decode()}"
        )

    @staticmethod
    def _keep(place: Path, deployment: dict[str, Any]) -> None:
        write_atomically(place, encoded(exported(deployment)))


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
