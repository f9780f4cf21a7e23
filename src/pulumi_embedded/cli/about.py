"""`about`, `whoami` and `plugin`: the engine's version and environment."""

from __future__ import annotations

import getpass
import platform
import re
import subprocess
from datetime import UTC, datetime
from typing import Any

import click

from pulumi_embedded.cli.context import CommandContext, pass_context, warn
from pulumi_embedded.cli.flags import AliasedGroup, json_option, output_option, stack_option, wants_json
from pulumi_embedded.cli.listing import aligned, moment_ago
from pulumi_embedded.errors import EngineError
from pulumi_embedded.printable import json_text
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION
from pulumi_embedded.storage.session import Session
from pulumi_embedded.storage.workspace import pulumi_home

__all__ = ["about", "plugin", "whoami"]

_KINDS = ("analyzer", "converter", "language", "resource", "tool")


@click.command()
@stack_option
@json_option
@output_option
@pass_context
def about(context: CommandContext, stack_name: str | None, json_: bool, output: str) -> None:
    """Print the engine's version, the machine, the project, the stack and the backend.

    A missing part is omitted, with a warning that says why. No passphrase is needed.
    """
    errors: list[str] = []
    document: dict[str, Any] = {
        "host": {"os": platform.system().lower(), "version": platform.release(), "arch": platform.machine()},
        "backend": None,
        "currentStack": None,
        "cliAbout": {"version": f"{ENGINE_VERSION}+embedded", "python": platform.python_version()},
        "runtime": None,
        "plugins": [{key: entry[key] for key in ("name", "version", "kind")} for entry in _plugins()],
    }
    try:
        session = context.session()
        document["backend"] = {"name": platform.node(), "url": session.backend.url, "user": getpass.getuser()}
        document["runtime"] = _runtime(session.project.python())
        document["currentStack"] = _stack(session, stack_name)
    except (EngineError, OSError) as error:
        errors.append(str(error))
    if json_ or wants_json(output):
        click.echo(json_text(document | {"errors": errors}, indent=2))
        return
    _print(document)
    for text in errors:
        warn(text)


def _stack(session: Session, name: str | None) -> dict[str, Any]:
    opened = session.stack(name)
    deployment = session.backend.read(opened.project, opened.name) or {}
    resources = deployment.get("resources") or []
    pending = deployment.get("pending_operations") or []
    return {
        "name": opened.name,
        "fullyQualifiedName": f"organization/{opened.project}/{opened.name}",
        "resources": [{"type": resource["type"], "urn": resource["urn"]} for resource in resources],
        "pendingOps": [{"type": operation["type"], "urn": operation["resource"]["urn"]} for operation in pending],
    }


def _runtime(python: str) -> dict[str, str]:
    command = [python, "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {"language": "python", "executable": python, "version": version}


def _print(document: dict[str, Any]) -> None:
    titles = {"cliAbout": "CLI", "host": "Host", "runtime": "Runtime", "backend": "Backend"}
    for key, title in titles.items():
        if document[key]:
            click.echo(
                aligned([(title, ""), *((name.capitalize(), value) for name, value in document[key].items())]) + "\n"
            )
    if document["plugins"]:
        plugins = [(entry["kind"], entry["name"], entry["version"]) for entry in document["plugins"]]
        click.echo("Plugins\n" + aligned([("KIND", "NAME", "VERSION"), *plugins]) + "\n")
    stack = document["currentStack"]
    if stack:
        click.echo(f"Current Stack: {stack['fullyQualifiedName']}\n")
        for key, heading, none in (
            ("resources", "TYPE", "resources"),
            ("pendingOps", "OPP TYPE", "pending operations"),
        ):
            rows = [(resource["type"], resource["urn"]) for resource in stack[key]]
            table = aligned([(heading, "URN"), *rows]) if rows else f"Found no {none} associated with {stack['name']}"
            click.echo(f"{table}\n")


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="Print the backend's URL, too.")
@json_option
@output_option
@pass_context
def whoami(context: CommandContext, verbose: bool, json_: bool, output: str) -> None:
    """Display the current user, who is this machine's: a file backend has no others."""
    url = context.session().backend.url
    user = getpass.getuser()
    if json_ or wants_json(output):
        click.echo(json_text({"user": user, "url": url}, indent=2))
    elif verbose:
        click.echo(f"User: {user}\nOrganizations: \nBackend URL: {url}\nToken type: personal")
    else:
        click.echo(user)


@click.group(cls=AliasedGroup)
def plugin() -> None:
    """Look at the plugins that are installed; the embedded engine installs none."""


@plugin.command(name="list")
@json_option
@output_option
def list_(json_: bool, output: str) -> None:
    """List the plugins in `$PULUMI_HOME/plugins`."""
    plugins = _plugins()
    if json_ or wants_json(output):
        click.echo(json_text(plugins, indent=2))
        return
    rows = [
        (
            entry["name"],
            entry["kind"],
            entry["version"],
            _size(entry["size"]),
            *map(moment_ago, (entry["installTime"], entry["lastUsedTime"])),
        )
        for entry in plugins
    ]
    click.echo(aligned([("NAME", "KIND", "VERSION", "SIZE", "INSTALLED", "LAST USED"), *rows]))
    click.echo(f"\nTOTAL plugin cache size: {_size(sum(entry['size'] for entry in plugins)) if plugins else '0 B'}")


def _plugins() -> list[dict[str, Any]]:
    """Return the plugins by name, the newest version of each first."""
    plugins = []
    for folder in (pulumi_home() / "plugins").glob("*"):
        named = re.fullmatch(rf"({'|'.join(_KINDS)})-(.+)-v(\d+\.\d+\.\d+.*)", folder.name)
        if named and folder.is_dir():
            files = [file.stat() for file in folder.rglob("*") if file.is_file()]
            status = folder.stat()
            plugins.append(
                {
                    "name": named[2],
                    "kind": named[1],
                    "version": named[3],
                    "size": sum(file.st_size for file in files),
                    "installTime": _moment(status.st_ctime),
                    "lastUsedTime": _moment(status.st_atime),
                }
            )
    newest = sorted(
        plugins, key=lambda entry: [int(part) for part in re.findall(r"\d+", str(entry["version"]))], reverse=True
    )
    return sorted(newest, key=lambda entry: (entry["name"], entry["kind"]))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


plugin.aliases.update({"ls": "list"})
