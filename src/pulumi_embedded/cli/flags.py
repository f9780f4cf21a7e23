"""Flags of several commands, and groups of commands with aliases."""

from __future__ import annotations

from typing import Any

import click

from pulumi_embedded.errors import EngineError

__all__ = ["AliasedGroup", "json_option", "output_option", "stack_option", "wants_json"]

stack_option = click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")
json_option = click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
output_option = click.option("--output", default="default", help="Output format: default or json.")


def wants_json(output: str) -> bool:
    """Return whether `--output` requests JSON. Raises EngineError for an unknown format."""
    if output not in ("default", "json"):
        raise EngineError(f'invalid argument "{output}" for "--output" flag: it is default or json')
    return output == "json"


class AliasedGroup(click.Group):
    """A group that finds a command by each of its names, and lists it by one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.aliases: dict[str, str] = {}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of this name or alias."""
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))
