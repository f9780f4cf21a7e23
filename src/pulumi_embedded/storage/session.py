"""A project and an opened stack: its state, its configuration and its lock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pulumi_embedded.errors import EngineError, StackNotFound
from pulumi_embedded.storage.backend import FileBackend
from pulumi_embedded.storage.checkpoint import Codec, Snapshot
from pulumi_embedded.storage.config import ConfigFile
from pulumi_embedded.storage.locks import stack_lock
from pulumi_embedded.storage.references import stack_outputs
from pulumi_embedded.storage.target import Target
from pulumi_embedded.storage.workspace import Project, find_project, selected_stack

__all__ = ["Session", "Stack"]


@dataclass(frozen=True)
class Session:
    """A project and its backend."""

    project: Project
    backend: FileBackend

    @classmethod
    def open(cls, folder: Path) -> Session:
        """Return the project in or above the directory, with its backend."""
        project = find_project(folder)
        return cls(project, FileBackend.open(project.backend_url(), project.folder))

    def stack(self, name: str | None, config_file: Path | None = None) -> Stack:
        """Return the named or the selected stack. Raises EngineError if there is none."""
        chosen = name or selected_stack(self.project, self.backend.url)
        if chosen is None:
            raise EngineError(
                "no stack selected; please use `pulumi-embedded stack select` or `pulumi-embedded stack init` "
                "to choose one"
            )
        chosen = self.short_name(chosen)
        if not self.backend.exists(self.project.name, chosen):
            raise StackNotFound(
                f"no stack named '{chosen}' found; make it: pulumi-embedded stack init {chosen}" + self._known_stacks()
            )
        return Stack(self, chosen, ConfigFile(self.project, chosen, config_file))

    def short_name(self, name: str) -> str:
        """Return the stack's own name. `organization/PROJECT/STACK` is accepted for this project."""
        parts = name.split("/")
        if len(parts) > 1 and (parts[0] != "organization" or parts[-2] not in ("organization", self.project.name)):
            raise EngineError(f"'{name}' is not a stack of the project {self.project.name}")
        return parts[-1]

    def _known_stacks(self) -> str:
        names = self.backend.stacks(self.project.name)
        return f"\n  stacks of this project: {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class Stack:
    """One stack. Its passphrase is only needed to read or write a secret."""

    session: Session
    name: str
    config: ConfigFile

    @property
    def project(self) -> str:
        """The name of the project."""
        return self.session.project.name

    def target(self) -> Target:
        """Return the stack with its decrypted configuration."""
        backend, project = self.session.backend, self.session.project
        return Target(project, self.name, self.config.values(), partial(stack_outputs, backend, project.name))

    def codec(self, *, create: bool = False) -> Codec:
        """Return the codec of the stack's state."""
        crypter = self.config.crypter(create=create)
        if create:
            self.config.save()
        return Codec(crypter)

    def snapshot(self, codec: Codec) -> Snapshot:
        """Return the stack in the state file."""
        state_file = self.session.backend.state_file(self.project, self.name)
        with state_file.explained():
            return codec.snapshot(state_file.read())

    def write(self, codec: Codec, snapshot: Snapshot) -> None:
        """Make the snapshot the stack's state."""
        self.session.backend.write(self.project, self.name, codec.deployment(snapshot))

    def lock(self, tell: Callable[[str], None]) -> AbstractContextManager[Path]:
        """Hold the stack for this process. See `stack_lock`."""
        return stack_lock(self.session.backend, self.project, self.name, tell)
