"""The states of a project's stacks: of a backend that is a folder without an engine, of any other one with it.

The layout of the folder is that of Pulumi's DIY backend (CLI 3.260): `.pulumi/stacks/PROJECT/STACK.json`, with
`.pulumi/history` and `.pulumi/backups` beside it.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

from pulumi_alembic.errors import MigrationError

__all__ = ["Migrated", "State", "Update", "project_name", "read"]

_TYPE = "pulumi-python:dynamic/alembic:Migrations"
_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - the key that marks a secret in Pulumi's states
_ENTRIES = 20
_CONFIGURATION = re.compile(r"Pulumi\.(?P<stack>[A-Za-z0-9_.-]+)\.ya?ml")


@dataclass(frozen=True)
class Update:
    """The newest operation that changed a stack, from its history. `person` and `commit` are empty if git did not say.

    `looked` is when an update or a refresh last read the database.
    """

    kind: str
    result: str
    when: datetime
    person: str = ""
    commit: str = ""
    looked: datetime | None = None


@dataclass(frozen=True)
class Migrated:
    """A `Migrations` resource in a state. `url` is as the state has it: a text, or the ciphertext of one."""

    name: str
    revision: str
    target: str
    directory: str
    url: str
    is_secret: bool
    revisions: Mapping[str, int]
    drift: Mapping[str, list[str]]
    failures: Mapping[str, str]


@dataclass(frozen=True)
class State:
    """What the files of a stack say. `salt` is empty if no passphrase protects its secrets, but `provider`.

    `has_state` is false before the first update and after the state was lost; then `update` and `backup` tell which.
    """

    stack: str
    has_state: bool
    migrations: tuple[Migrated, ...] = ()
    salt: str = ""
    provider: str = ""
    pending: int = 0
    """Operations that were under way when the engine ended."""
    update: Update | None = None
    backup: Path | None = None


def read(project: Path, engine: str) -> tuple[State, ...]:
    """The states of the stacks of the project in a folder, by name.

    A backend that is not a folder is asked by `engine`, the program with Pulumi's verbs: its stacks at the same time.

    Raises:
        MigrationError: There is no project, the engine does not answer, or a state is not one.

    """
    settings = _settings(project)
    url = os.environ.get("PULUMI_BACKEND_URL") or (settings.get("backend") or {}).get("url") or _logged_in()
    named = {match["stack"] for path in project.iterdir() if (match := _CONFIGURATION.fullmatch(path.name))}
    if not url.startswith("file://"):
        listed = {str(stack["name"]) for stack in _ask(project, engine, "stack", "ls", "--json")}
        with ThreadPoolExecutor(max(1, len(listed))) as pool:
            states = {state.stack: state for state in pool.map(partial(_exported, project, engine), sorted(listed))}
        return tuple(states.get(stack, State(stack, False)) for stack in sorted(named | listed))
    # file://./.state has its first part where other URLs have the host.
    parts = urlsplit(url)
    backend, name = project / Path(unquote(parts.netloc + parts.path)).expanduser() / ".pulumi", settings["name"]
    files = {_stem(path): path for path in sorted((backend / "stacks" / name).glob("*.json*")) if _stem(path)}
    return tuple(_stored(backend, name, stack, files.get(stack)) for stack in sorted(named | set(files)))


def project_name(project: Path) -> str:
    """The name of the project in a folder. Raises MigrationError if there is none."""
    return str(_settings(project)["name"])


def _settings(project: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load((project / "Pulumi.yaml").read_text())
        return {**settings, "name": str(settings["name"])}
    except FileNotFoundError:
        raise MigrationError(f"there is no Pulumi.yaml in {project}: run this in the folder of the program") from None
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        raise MigrationError(f"{project / 'Pulumi.yaml'} is not the settings of a Pulumi project") from None


def _stem(path: Path) -> str:
    """The stack of a state's file; empty for what lies beside it, such as `dev.json.bak`."""
    return path.name.removesuffix(".gz").removesuffix(".json") if path.name.endswith((".json", ".json.gz")) else ""


def _logged_in() -> str:
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        return str(json.loads((home / "credentials.json").read_text())["current"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _stored(backend: Path, project: str, stack: str, file: Path | None) -> State:
    update = _update(list(_entries(backend / "history" / project / stack)))
    if file is None:
        backups = sorted((backend / "backups" / project / stack).glob("*.json*"), key=lambda path: path.stat().st_mtime)
        return State(stack, False, update=update, backup=backups[-1] if backups else None)
    try:
        return _state(stack, _json(file)["checkpoint"]["latest"] or {}, update)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise MigrationError(f"the state of the stack {stack} is not one: {file}") from None


def _exported(project: Path, engine: str, stack: str) -> State:
    try:
        deployment = _ask(project, engine, "stack", "export", "--stack", stack)["deployment"] or {}
        history = _ask(project, engine, "stack", "history", "--json", "--page-size", str(_ENTRIES), "--stack", stack)
        return _state(stack, deployment, _update(history))
    except (KeyError, TypeError, AttributeError):
        raise MigrationError(f"the state of the stack {stack} is not one") from None


def _ask(project: Path, engine: str, *arguments: str) -> Any:
    command = [engine, *arguments]
    try:
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return json.loads(done.stdout)
    except (OSError, ValueError) as error:
        raise MigrationError(f"{' '.join(command)}: {error}") from None
    raise MigrationError(f"{' '.join(command)}: {done.stderr.strip().removeprefix('error: ')}")


def _state(stack: str, deployment: Mapping[str, Any], update: Update | None) -> State:
    secrets = deployment.get("secrets_providers") or {}
    resources = deployment.get("resources") or []
    return State(
        stack,
        True,
        tuple(_migrated(resource) for resource in resources if resource["type"] == _TYPE),
        salt=(secrets.get("state") or {}).get("salt", "") if secrets.get("type") == "passphrase" else "",
        provider=secrets.get("type", ""),
        pending=len(deployment.get("pending_operations") or []),
        update=update,
    )


def _migrated(resource: Mapping[str, Any]) -> Migrated:
    outputs = {**resource.get("inputs", {}), **resource.get("outputs", {})}
    url, secret = outputs.get("url", ""), False
    if isinstance(url, dict) and _SECRET in url:
        url, secret = url.get("ciphertext", ""), True
    return Migrated(
        name=resource["urn"].rpartition("::")[2],
        revision=_text(outputs.get("revision")),
        target=_text(outputs.get("target")),
        directory=_text(outputs.get("directory")),
        url=_text(url),
        is_secret=secret,
        revisions=_mapping(outputs.get("revisions")),
        drift=_mapping(outputs.get("drift")),
        failures=_mapping(outputs.get("failures")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _update(entries: Sequence[Mapping[str, Any]]) -> Update | None:
    """The newest entry of a history, which has no previews, and when its newest successful one ended."""
    if not entries:
        return None
    newest = entries[0]
    environment = newest.get("environment") or {}
    looked = next((entry for entry in entries if entry.get("result") == "succeeded"), None)
    return Update(
        newest.get("kind", ""),
        newest.get("result", ""),
        _time(newest),
        environment.get("git.author", ""),
        environment.get("git.head", ""),
        _time(looked) if looked else None,
    )


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The newest entries of a history, the newest first; what cannot be read is left out."""
    number = re.compile(r"-(\d+)\.history\.json(?:\.gz)?$")
    files = [(int(match[1]), path) for path in folder.glob("*") if (match := number.search(path.name))]
    for _, path in sorted(files, reverse=True)[:_ENTRIES]:
        with suppress(OSError, ValueError):
            entry = _json(path)
            if isinstance(entry, dict) and isinstance(entry.get("endTime"), int):
                yield entry


def _json(path: Path) -> Any:
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data)


def _time(entry: Mapping[str, Any]) -> datetime:
    """When an entry ended: seconds in a file, ISO 8601 in what a command prints."""
    ended = entry["endTime"]
    return datetime.fromisoformat(ended) if isinstance(ended, str) else datetime.fromtimestamp(ended, UTC)
