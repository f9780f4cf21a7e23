"""A stack of the test bench: its project, configuration and state in one directory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

import yaml

from pulumi_embedded.model.values import Secret, Value
from pulumi_embedded.storage.backend import FileBackend
from pulumi_embedded.storage.checkpoint import Codec, Snapshot
from pulumi_embedded.storage.config import ConfigFile
from pulumi_embedded.storage.references import stack_outputs
from pulumi_embedded.storage.secrets import Crypter
from pulumi_embedded.storage.target import Target
from pulumi_embedded.storage.workspace import Project, find_project

__all__ = ["Place", "environment"]

_PASSPHRASE = ""


@dataclass(frozen=True)
class Place:
    """A stack's directory. The program's own project, if there is one, is only read."""

    folder: Path
    project: Project
    stack: str

    @classmethod
    def of(cls, folder: Path, program: object, project: str, stack: str) -> Place:
        """Return the place of a stack in a directory. A directory with a Pulumi.yaml has its own project."""
        main = Path(program).resolve() if isinstance(program, str | os.PathLike) else folder
        settings = {"name": project, "runtime": "python", "main": str(main)}
        if main.is_dir() and (main / "Pulumi.yaml").is_file():
            project_file = find_project(main)
            # Dynamic providers run with this process's interpreter, as the program does.
            return cls(
                folder,
                Project(project_file.name, project_file.file, {**project_file.settings, "runtime": "python"}),
                stack,
            )
        return cls(folder, Project(project, folder / "Pulumi.yaml", settings), stack)

    @property
    def state_file(self) -> Path:
        """The state, in the layout of the file backend."""
        return self.folder / f".pulumi/stacks/{self.project.name}/{self.stack}.json"

    def target(self, config: Mapping[str, Value]) -> Target:
        """Return the stack with the configuration, which is written to its file and read again."""
        project = Project(self.project.name, self.folder / "Pulumi.yaml", self.project.settings)
        file = self.folder / f"Pulumi.{self.stack}.yaml"
        document = {"encryptionsalt": _crypter().salt_state, "config": _sealed(dict(config))}
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        checked = ConfigFile(project, self.stack)
        checked.check()
        others = partial(stack_outputs, self._backend, self.project.name)
        return Target(self.project, self.stack, checked.values(), others)

    def codec(self) -> Codec:
        """Return the codec of the state."""
        return Codec(_crypter())

    def read(self, codec: Codec) -> Snapshot:
        """Return the state in the file. An empty one is written if there is none."""
        if not self.state_file.is_file():
            self.write(codec, Snapshot())
        return codec.snapshot(self._backend.read(self.project.name, self.stack))

    def write(self, codec: Codec, snapshot: Snapshot) -> None:
        """Make the snapshot the state."""
        self._backend.write(self.project.name, self.stack, codec.deployment(snapshot))

    @cached_property
    def _backend(self) -> FileBackend:
        return FileBackend(f"file://{self.folder}", self.folder)


@cache
def _crypter() -> Crypter:
    """Return the crypter of this process. There is one, because deriving a key takes long."""
    return Crypter.create(_PASSPHRASE)


def _sealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return {"secure": _crypter().encrypt(str(value.value))}
    if isinstance(value, dict):
        return {key: _sealed(item) for key, item in value.items()}
    return [_sealed(item) for item in value] if isinstance(value, list) else value


@contextmanager
def environment() -> Iterator[None]:
    """Set the passphrase, and the path of test modules, in the environment of an operation."""
    before = dict(os.environ)
    installed = (sys.prefix, sys.base_prefix)
    # A dynamic provider whose class is in a test module is imported by its plugin.
    paths = [path for path in sys.path if path and not path.startswith(installed)]
    os.environ.update(PULUMI_CONFIG_PASSPHRASE=_PASSPHRASE, PYTHONPATH=os.pathsep.join(paths))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
