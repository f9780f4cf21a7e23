"""Flags that several commands have."""

from __future__ import annotations

import click

from pulumi_embedded.errors import EngineError

__all__ = ["json_option", "output_option", "stack_option", "wants_json"]

stack_option = click.option("-s", "--stack", "stack_name", help="The name of the stack to operate on.")
json_option = click.option("-j", "--json", "json_", is_flag=True, help="Emit output as JSON.")
output_option = click.option("--output", default="default", help="Output format: default or json.")


def wants_json(output: str) -> bool:
    """Whether `--output` asks for JSON; raises EngineError for a format that there is not."""
    if output not in ("default", "json"):
        raise EngineError(f'invalid argument "{output}" for "--output" flag: it is default or json')
    return output == "json"
