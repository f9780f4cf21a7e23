"""A group of commands some of which have further names."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["AliasedGroup"]


class AliasedGroup(click.Group):
    """Finds a command by any of its names and lists it by one."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.aliases: dict[str, str] = {}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, also where it is another name for it."""
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))
