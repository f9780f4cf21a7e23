"""The command `taskdb`: the development server, stacks and pull requests, beside the commands of Pulumi and Alembic."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click
import yaml

from pulumi_alembic import MigrationError
from pulumi_alembic.database import libpq
from pulumi_alembic.output.printable import guarded_output, json_text
from pulumi_alembic.scripts.history import HEAD
from taskdb import github, local, schema_report, stack
from taskdb.engine import ENGINES, Engine
from taskdb.errors import TaskdbError
from taskdb.pull_request import SOURCE, PullRequest

__all__ = ["main"]


class _Commands(click.Group):
    """Turns every error of normal use into one message and exit code 1."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with guarded_output():
                return super().main(*args, **extra)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (TaskdbError, MigrationError, PermissionError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands)
@click.version_option(package_name="taskdb")
def main() -> None:
    """Commands for this project's databases."""


@main.group()
def server() -> None:
    """Run PostgreSQL on this machine, for the development of this project only."""


@server.command()
@click.option("--port", type=click.IntRange(1024, 65535), help="Use this port from now on.")
def start(port: int | None) -> None:
    """Start the server; the first time, create it."""
    local.start(stack.project_folder(), port=port, say=_say)


@server.command()
def stop() -> None:
    """Stop the server; its databases stay."""
    _say("The server is stopped" if local.stop(stack.project_folder()) else "The server was not running")


@server.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show where the server is; exit code 3 if it does not run."""
    state = local.status(stack.project_folder())
    if as_json:
        click.echo(json_text(asdict(state) if state else {"running": False}))
    elif state:
        for name, value in asdict(state).items():
            _say(f"{name:<8} {value if name != 'running' else 'yes' if value else 'no: taskdb server start'}")
    else:
        _say("There is no server yet: taskdb server start")
    context.exit(0 if state and state.running else 3)


@server.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def remove(yes: bool) -> None:
    """Stop the server and delete it with all of its databases."""
    project = stack.project_folder()
    if not yes:
        click.confirm("Delete this project's server with all of its databases?", abort=True)
    _say("The server is removed" if local.remove(project) else "There was no server")


_stack = click.option("--stack", "name", help="The stack; otherwise PULUMI_STACK's, then the selected one, then dev.")
_engine = click.option("--engine", type=click.Choice(ENGINES), default=ENGINES[0], help="Which Pulumi runs it.")


@main.command("stack")
@_stack
def show_stack(name: str | None) -> None:
    """Print the stack that the commands of this project work on."""
    click.echo(stack.current_stack(name))


@main.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--html", type=click.Path(path_type=Path), metavar="FILE", help="Write one page that needs no network.")
@click.pass_context
def show_status(context: click.Context, as_json: bool, html: Path | None) -> None:
    """Show all stacks: their revisions, drift, backups and problems; exit code 1 if there is a problem."""
    from pulumi_alembic.commands import status
    from pulumi_alembic.status.overview import Guide

    project = stack.project_folder()

    def target(name: str) -> str:
        configuration = stack.configuration_of(name, project)
        settings = yaml.safe_load(configuration.read_text()) if configuration.exists() else None
        return str(((settings or {}).get("config") or {}).get("taskdb:revision") or HEAD)

    def start(address: str) -> str:
        own = local.status(project)
        return "taskdb server start" if own and address.startswith(f"{own.host}:{own.port}/") else ""

    guide = Guide(Engine.find().program, target, start)
    context.exit(status.run(project, project / "migrations", guide, as_json, html))


_NAMING_THE_STACK = ("up", "preview", "refresh", "destroy")
"""Commands of Pulumi whose first line is `Updating (dev):` or another one with the stack."""


@main.command(context_settings={"allow_interspersed_args": False})
@_stack
@_engine
@click.option("--create", is_flag=True, help="Create the stack if it does not exist.")
@click.argument("arguments", nargs=-1, required=True)
def run(name: str | None, engine: str, create: bool, arguments: tuple[str, ...]) -> None:
    """Run a command of Pulumi on a stack, with its development server if it uses that: taskdb run up --yes."""
    project, chosen_engine, chosen = stack.project_folder(), Engine.find(engine), stack.current_stack(name)
    if arguments[0] not in _NAMING_THE_STACK:
        click.echo(f"Stack: {chosen}", err=True)
    configuration = stack.configuration_of(chosen, project)
    if not configuration.exists():
        raise TaskdbError(
            f"There is no {configuration.name}, so no stack '{chosen}' is configured. Create it:\n"
            f"  {chosen_engine.name} stack init {chosen}"
        )
    settings = yaml.safe_load(configuration.read_text()) or {}
    if not os.environ.get("PGHOST") and not any(key.startswith("postgresql:") for key in settings.get("config") or {}):
        running = local.is_running(project)
        local.start(project, say=lambda line: None if running else click.echo(f"  {line}", err=True))
    if create and not chosen_engine.has_stack(chosen):
        chosen_engine.ask("stack", "init", "--no-select", stack=chosen)
    sys.stdout.flush()
    os.execve(chosen_engine.program, [chosen_engine.program, *arguments], chosen_engine.environment(chosen))


@main.command()
@_stack
@_engine
@click.argument("revision")
def pin(name: str | None, engine: str, revision: str) -> None:
    """Pin a stack to a revision, or to head; nothing is run."""
    if not re.fullmatch(r"head|\d{8}_\d{3}", revision):
        raise TaskdbError(f"REVISION must be head or a revision id such as 20250126_003, not {revision!r}")
    chosen = stack.current_stack(name)
    Engine.find(engine).ask("config", "set", "taskdb:revision", revision, stack=chosen)
    _say(f"The stack {chosen} is pinned to {revision}")


@main.command()
@click.option("--role", type=click.Choice(["app", "reader", "migrator"]), default="app", help="Whose login to use.")
@_stack
def psql(role: str, name: str | None) -> None:
    """Open psql on a stack's database."""
    program = shutil.which("psql")
    if program is None:
        raise TaskdbError("psql is not installed. On Debian: apt-get install postgresql-client")
    chosen = stack.current_stack(name)
    click.echo(f"Stack: {chosen}", err=True)
    url = urlsplit(stack.output(f"{role}_url", chosen))
    # In the environment, because every user of the machine can read a command's arguments.
    login = {
        "PGHOST": url.hostname,
        "PGPORT": url.port,
        "PGUSER": url.username,
        "PGPASSWORD": url.password,
        "PGDATABASE": url.path.lstrip("/"),
        **{f"PG{name.upper()}": value for name, value in parse_qsl(url.query)},
    }
    inherited = {name: value for name, value in os.environ.items() if name not in libpq.variables()}
    os.execve(program, ["psql"], inherited | {key: str(value) for key, value in login.items()})


@main.group("pull-request")
def pull_request() -> None:
    """Manage a short-lived stack for a pull request, pr-N, created from staging's schema."""


def _of_pull_request(command: Any) -> Any:
    for option in (click.argument("number"), _engine):
        command = option(command)
    return command


@pull_request.command("up")
@_of_pull_request
@click.option("--from", "source", default=SOURCE, show_default=True, help="The stack that it is made from.")
def pull_request_up(number: str, engine: str, source: str) -> None:
    """Bring the stack up: first at staging's revision, then at the revision of this checkout."""
    PullRequest.parse(number, Engine.find(engine), stack.project_folder(), source).up(_say)


@pull_request.command("down")
@_of_pull_request
def pull_request_down(number: str, engine: str) -> None:
    """Drop the stack's database and roles, and remove the stack."""
    PullRequest.parse(number, Engine.find(engine), stack.project_folder()).down(_say)


@main.command("report-schema", context_settings={"ignore_unknown_options": True})
@click.argument("schema", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1)
@click.pass_context
def report_schema(context: click.Context, schema: Path, arguments: tuple[str, ...]) -> None:
    """Report on the file that `pulumi-alembic schema` wrote, rehearsed on a new server that is deleted after it.

    Further ARGUMENTS are those of `pulumi-alembic report`.
    """
    context.exit(
        schema_report.report(
            schema.absolute(), arguments, stack.project_folder(), lambda line: click.echo(line, err=True)
        )
    )


@main.command("check-settings")
@click.argument("repository")
@click.pass_context
def check_settings(context: click.Context, repository: str) -> None:
    """Check the GitHub settings that keep secrets from strangers: OWNER/NAME; exit code 3 if one is missing.

    Needs the GitHub CLI, with a login that administers the repository. docs/security.md says what each is for.
    """
    problems = github.problems(repository, github.ask)
    for line in problems or ["the settings are as the workflows need them"]:
        click.echo(line)
    context.exit(3 if problems else 0)


def _say(line: str) -> None:
    click.echo(f"  {line}")
