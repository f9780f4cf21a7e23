"""The project on disk: Pulumi.yaml, Pulumi.STACK.yaml, and the selected stack."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.storage.files import write_atomically

__all__ = ["Project", "check_stack_name", "find_project", "pulumi_home", "select_stack", "selected_stack"]

_PROJECT_FILES = ("Pulumi.yaml", "Pulumi.yml")


@dataclass(frozen=True)
class Project:
    """A Python project. `file` is its Pulumi.yaml."""

    name: str
    file: Path
    settings: dict[str, Any]

    @property
    def folder(self) -> Path:
        """The directory of Pulumi.yaml."""
        return self.file.parent

    @property
    def program(self) -> Path:
        """The program's file or directory: `main` or by default the project's directory."""
        return self.folder / str(self.settings.get("main") or ".")

    @property
    def program_folder(self) -> Path:
        """The directory in which the program and dynamic providers run."""
        return self.program if self.program.is_dir() else self.program.parent

    def python(self) -> str:
        """Return the interpreter of the virtualenv in Pulumi.yaml, or that of this process.

        Raises:
            EngineError: The virtualenv does not exist.
            Unsupported: Pulumi.yaml requires a type checker or another toolchain than pip.

        """
        options = self._runtime_options()
        for name, usual in (("toolchain", "pip"), ("typechecker", None)):
            if options.get(name) not in (None, usual):
                raise Unsupported(f"runtime.options.{name} {options[name]!r} in {self.file.name}")
        if not options.get("virtualenv"):
            return sys.executable
        path = self.folder / str(options["virtualenv"]) / "bin" / "python"
        if not path.exists():
            raise EngineError(
                f"the virtualenv that {self.file.name} names does not exist: {path.parent.parent}; make it:\n"
                f"  python3 -m venv {path.parent.parent} && {path} -m pip install -r requirements.txt"
            )
        return str(path)

    def _runtime_options(self) -> dict[str, Any]:
        runtime = self.settings.get("runtime")
        return (runtime.get("options") or {}) if isinstance(runtime, dict) else {}

    def backend_url(self) -> str:
        """Return PULUMI_BACKEND_URL, otherwise `backend.url` of Pulumi.yaml, otherwise that of `pulumi login`."""
        url = os.environ.get("PULUMI_BACKEND_URL") or (self.settings.get("backend") or {}).get("url")
        return str(url or _current_login())


def find_project(start: Path) -> Project:
    """Return the project in `start` or the nearest directory above it. Rejects projects that only the CLI can run."""
    for folder in (start, *start.parents):
        for name in _PROJECT_FILES:
            if (folder / name).is_file():
                return _load(folder / name)
    raise EngineError(
        f"no Pulumi.yaml project file found (searching upwards from {start}); "
        "run the command in a project's folder, or name it: pulumi-embedded -C FOLDER …"
    )


def _load(file: Path) -> Project:
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise EngineError(f"{file} cannot be read: {error}") from None
    if not isinstance(settings, dict) or not isinstance(settings.get("name"), str):
        raise EngineError(f"{file}: project is missing a 'name' attribute")
    runtime = settings.get("runtime")
    language = runtime.get("name") if isinstance(runtime, dict) else runtime
    if language != "python":
        raise Unsupported(f"the runtime {language!r} in {file}")
    if settings.get("options", {}).get("refresh"):
        raise Unsupported(f"options.refresh in {file}")
    return Project(settings["name"], file, settings)


def pulumi_home() -> Path:
    """Return PULUMI_HOME, or ~/.pulumi."""
    return Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")


def _current_login() -> str:
    path = pulumi_home() / "credentials.json"
    current = ""
    if path.is_file():
        current = str(_read_json(path).get("current") or "")
    if not current:
        raise EngineError(
            "no backend is configured; name one: export PULUMI_BACKEND_URL=file://FOLDER, "
            "or `backend: {url: file://./FOLDER}` in Pulumi.yaml"
        )
    return current


def _workspace_file(project: Project) -> Path:
    digest = hashlib.sha1(str(project.file).encode(), usedforsecurity=False).hexdigest()
    return pulumi_home() / "workspaces" / f"{project.name}-{digest}-workspace.json"


def selected_stack(project: Project, backend_url: str) -> str | None:
    """Return the stack that `stack select` or `stack init` chose, with the CLI or this engine. None without one."""
    if os.environ.get("PULUMI_STACK"):
        return os.environ["PULUMI_STACK"]
    settings = _read_workspace(project)
    chosen = (settings.get("stacks") or {}).get(backend_url) or settings.get("stack")
    return str(chosen).rsplit("/", 1)[-1] if chosen else None


def _read_workspace(project: Project) -> dict[str, Any]:
    path = _workspace_file(project)
    return _read_json(path) if path.is_file() else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}") from None
    if not isinstance(document, dict):
        raise EngineError(f"{path} cannot be read: it holds no JSON object")
    return document


def select_stack(project: Project, backend_url: str, stack: str | None) -> None:
    """Select the stack. None deselects."""
    settings = _read_workspace(project)
    stacks = settings.setdefault("stacks", {})
    stacks.pop(backend_url, None)
    if stack is not None:
        stacks[backend_url] = f"organization/{project.name}/{stack}"
    write_atomically(_workspace_file(project), json.dumps(settings, indent=4).encode())


def check_stack_name(name: str) -> None:
    """Raise EngineError if the CLI would reject the name."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,100}", name):
        raise EngineError(
            "a stack name may only contain alphanumeric, hyphens, underscores, or periods: "
            f"invalid character in {name!r}"
        )
