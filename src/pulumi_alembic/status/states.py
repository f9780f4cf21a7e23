"""The states of a project's stacks, from the files of a backend in a directory, or from the engine for other backends.

The layout of the directory is that of Pulumi's DIY backend (CLI 3.260): `.pulumi/stacks/PROJECT/STACK.json`, with
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
    """The newest operation that changed a stack, from its history.

    Attributes:
        kind: Pulumi's name of the operation.
        result: Pulumi's name of the result.
        when: When it ended.
        person: The author of the commit. Empty if it is not known.
        commit: The commit. Empty if it is not known.
        looked: When an update or a refresh last read the database.

    """

    kind: str
    result: str
    when: datetime
    person: str = ""
    commit: str = ""
    looked: datetime | None = None


@dataclass(frozen=True)
class Migrated:
    """A `Migrations` resource in a state. `url` is the text in the state, encrypted if `is_secret`."""

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
    """The state of a stack.

    Attributes:
        has_state: Whether the stack has a state. It has none before the first update, or if the state was lost: then
            there is an `update` or a `backup`.
        salt: The salt of the passphrase. Empty if another provider encrypts the secrets.
        provider: The provider that encrypts the secrets.
        update: The newest operation. None if there is none.
        backup: The newest backup of a lost state.

    """

    stack: str
    has_state: bool
    migrations: tuple[Migrated, ...] = ()
    salt: str = ""
    provider: str = ""
    pending: int = 0
    """The number of operations that the engine began and did not end."""
    update: Update | None = None
    backup: Path | None = None


def read(project: Path, engine: str) -> tuple[State, ...]:
    """Return the states of a project's stacks, by name.

    Args:
        project: The directory of the program.
        engine: The program with Pulumi's verbs. It reads the states of a backend that is no directory.

    Raises:
        MigrationError: There is no project, the engine fails, or a state is not valid.

    """
    settings = _settings(project)
    url = os.environ.get("PULUMI_BACKEND_URL") or (settings.get("backend") or {}).get("url") or _logged_in()
    named = {match["stack"] for path in project.iterdir() if (match := _CONFIGURATION.fullmatch(path.name))}
    if not url.startswith("file://"):
        listed = {str(stack["name"]) for stack in _ask(project, engine, "stack", "ls", "--json")}
        with ThreadPoolExecutor(max(1, len(listed))) as pool:
            states = {state.stack: state for state in pool.map(partial(_exported, project, engine), sorted(listed))}
        return tuple(states.get(stack, State(stack, False)) for stack in sorted(named | listed))
    # In file://./.state the first part of the path is in the place of the host.
    parts = urlsplit(url)
    backend, name = project / Path(unquote(parts.netloc + parts.path)).expanduser() / ".pulumi", settings["name"]
    files = {_stem(path): path for path in sorted((backend / "stacks" / name).glob("*.json*")) if _stem(path)}
    return tuple(_stored(backend, name, stack, files.get(stack)) for stack in sorted(named | set(files)))


def project_name(project: Path) -> str:
    """Return the name of the project in a directory. Raises MigrationError if there is none."""
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
    """Return the stack of a state's file. Empty for other files, such as `dev.json.bak`."""
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
        drift=_mapping(outputs.get("drift") or outputs.get("__drift")),
        failures=_mapping(outputs.get("failures")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _update(entries: Sequence[Mapping[str, Any]]) -> Update | None:
    """Return the newest entry of a history, with the end of the newest successful one. A history has no previews."""
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
    """Return the newest entries of a history, the newest first, without unreadable ones."""
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
    """Return when an entry ended. A file has seconds, a command prints ISO 8601."""
    ended = entry["endTime"]
    return datetime.fromisoformat(ended) if isinstance(ended, str) else datetime.fromtimestamp(ended, UTC)
