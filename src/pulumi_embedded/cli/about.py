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
    found: dict[str, Any] = {
        "host": {"os": platform.system().lower(), "version": platform.release(), "arch": platform.machine()},
        "backend": None,
        "currentStack": None,
        "cliAbout": {"version": f"{ENGINE_VERSION}+embedded", "python": platform.python_version()},
        "runtime": None,
        "plugins": [{key: each[key] for key in ("name", "version", "kind")} for each in _plugins()],
    }
    try:
        session = context.session()
        found["backend"] = {"name": platform.node(), "url": session.backend.url, "user": getpass.getuser()}
        found["runtime"] = _runtime(session.project.python())
        found["currentStack"] = _stack(session, stack_name)
    except (EngineError, OSError) as error:
        errors.append(str(error))
    if json_ or wants_json(output):
        click.echo(json_text(found | {"errors": errors}, indent=2))
        return
    _print(found)
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
        "resources": [{"type": each["type"], "urn": each["urn"]} for each in resources],
        "pendingOps": [{"type": each["type"], "urn": each["resource"]["urn"]} for each in pending],
    }


def _runtime(python: str) -> dict[str, str]:
    asked = [python, "-c", "import platform; print(platform.python_version())"]
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {"language": "python", "executable": python, "version": version}


def _print(found: dict[str, Any]) -> None:
    titles = {"cliAbout": "CLI", "host": "Host", "runtime": "Runtime", "backend": "Backend"}
    for key, title in titles.items():
        if found[key]:
            click.echo(
                aligned([(title, ""), *((name.capitalize(), value) for name, value in found[key].items())]) + "\n"
            )
    if found["plugins"]:
        plugins = [(each["kind"], each["name"], each["version"]) for each in found["plugins"]]
        click.echo("Plugins\n" + aligned([("KIND", "NAME", "VERSION"), *plugins]) + "\n")
    stack = found["currentStack"]
    if stack:
        click.echo(f"Current Stack: {stack['fullyQualifiedName']}\n")
        for key, heading, none in (
            ("resources", "TYPE", "resources"),
            ("pendingOps", "OPP TYPE", "pending operations"),
        ):
            rows = [(each["type"], each["urn"]) for each in stack[key]]
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
            each["name"],
            each["kind"],
            each["version"],
            _size(each["size"]),
            *map(moment_ago, (each["installTime"], each["lastUsedTime"])),
        )
        for each in plugins
    ]
    click.echo(aligned([("NAME", "KIND", "VERSION", "SIZE", "INSTALLED", "LAST USED"), *rows]))
    click.echo(f"\nTOTAL plugin cache size: {_size(sum(each['size'] for each in plugins)) if plugins else '0 B'}")


def _plugins() -> list[dict[str, Any]]:
    """The plugins by name, the newest version of each first."""
    found = []
    for folder in (pulumi_home() / "plugins").glob("*"):
        named = re.fullmatch(rf"({'|'.join(_KINDS)})-(.+)-v(\d+\.\d+\.\d+.*)", folder.name)
        if named and folder.is_dir():
            files = [each.stat() for each in folder.rglob("*") if each.is_file()]
            status = folder.stat()
            found.append(
                {
                    "name": named[2],
                    "kind": named[1],
                    "version": named[3],
                    "size": sum(each.st_size for each in files),
                    "installTime": _moment(status.st_ctime),
                    "lastUsedTime": _moment(status.st_atime),
                }
            )
    newest = sorted(
        found, key=lambda each: [int(part) for part in re.findall(r"\d+", str(each["version"]))], reverse=True
    )
    return sorted(newest, key=lambda each: (each["name"], each["kind"]))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


plugin.aliases.update({"ls": "list"})
