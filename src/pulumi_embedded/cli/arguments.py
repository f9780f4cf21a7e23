"""Read the command line as the Pulumi CLI does (3.260): flags in any place, `--yes=false`, `-yfs dev`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

import click

from pulumi_embedded.cli.elsewhere import cli_has_command, cli_has_flag
from pulumi_embedded.errors import EngineError, Unsupported

__all__ = ["arranged"]

_TRUE: Final = {"1", "t", "T", "TRUE", "true", "True"}
_FALSE: Final = {"0", "f", "F", "FALSE", "false", "False"}
_HELP: Final = ("-h", "--help")


@dataclass
class _Level:
    """A command in the chain of groups and commands, with its own flags in a form that click reads."""

    command: click.Command
    flags: list[str] = field(default_factory=list)

    def option(self, name: str) -> click.Option | None:
        for param in self.command.params:
            if isinstance(param, click.Option) and name in param.opts:
                return param
        return None


def arranged(root: click.Group, arguments: Sequence[str]) -> list[str]:
    """Return the arguments with every flag after its command, in a form that click reads.

    Raises:
        Unsupported: Only the Pulumi CLI has a command or flag.
        EngineError: Neither the Pulumi CLI nor this engine has a command or flag.

    """
    levels, words = _levels(root, arguments)
    reader = _Reader(levels)
    reader.read(words)
    result = list(levels[0].flags)
    for level in levels[1:]:
        result += [str(level.command.name), *level.flags]
    return result + (["--", *reader.positional] if reader.positional else [])


def _levels(root: click.Group, arguments: Sequence[str]) -> tuple[list[_Level], list[str]]:
    """Return the commands that the words name, and the other words."""
    levels = [_Level(root)]
    words: list[str] = []
    remaining = list(arguments)
    if remaining[:1] == ["help"]:
        remaining = [*remaining[1:], "--help"]
    while remaining:
        word = remaining.pop(0)
        command = levels[-1].command
        if word == "--" or not isinstance(command, click.Group):
            words += [word, *remaining]
            break
        if word.startswith("-") and len(word) > 1:
            words.append(word)
            if _find(levels, word.partition("=")[0]) is None and cli_has_flag("", word.partition("=")[0]):
                raise Unsupported(f"the flag {word.partition('=')[0]}")
            if _takes_next(levels, word) and remaining:
                words.append(remaining.pop(0))
            continue
        levels.append(_Level(_subcommand(command, word, _path(levels))))
    return levels, words


def _path(levels: list[_Level]) -> str:
    return " ".join(str(level.command.name) for level in levels[1:])


def _subcommand(group: click.Group, name: str, path: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    if command is not None:
        return command
    full = f"{path} {name}".strip()
    if cli_has_command(full):
        raise Unsupported(f"the command `{full}`")
    where = f"pulumi-embedded {path}".strip()
    raise EngineError(f'unknown command "{name}" for "{where}"\nRun \'{where} --help\' for usage.')


def _takes_next(levels: list[_Level], word: str) -> bool:
    name = word if word.startswith("--") else word[:2]
    option = _find(levels, name)
    inline = "=" in word if word.startswith("--") else len(word) > len(name)
    return option is not None and not option.is_flag and not inline


def _find(levels: list[_Level], name: str) -> click.Option | None:
    return next((option for level in reversed(levels) if (option := level.option(name))), None)


class _Reader:
    """Reads words, and gives each flag to the innermost command that has it."""

    def __init__(self, levels: list[_Level]) -> None:
        self._levels = levels
        self._words: list[str] = []
        self.positional: list[str] = []

    def read(self, words: list[str]) -> None:
        """Read all words."""
        self._words = list(words)
        while self._words:
            word = self._words.pop(0)
            if word == "--":
                self.positional += self._words
                return
            if word in _HELP:
                self._levels[-1].flags.append("--help")
            elif word.startswith("--"):
                name, separator, value = word.partition("=")
                self._flag(name, value if separator else None, word)
            elif word.startswith("-") and len(word) > 1:
                self._short(word)
            else:
                self.positional.append(word)

    def _short(self, word: str) -> None:
        """Read one or several one-letter flags. A value can follow the last one."""
        for index in range(1, len(word)):
            option = self._option("-" + word[index], word)
            rest = word[index + 1 :]
            if rest.startswith("=") or (rest and not option.is_flag):
                self._flag("-" + word[index], rest.removeprefix("="), word)
                return
            self._flag("-" + word[index], None, word)

    def _option(self, name: str, word: str) -> click.Option:
        return _find(self._levels, name) or self._refuse(name, word)

    def _refuse(self, name: str, word: str) -> NoReturn:
        path = _path(self._levels)
        if cli_has_flag(path, name):
            raise Unsupported(f"the flag {name} of `{path}`")
        if name.startswith("--"):
            raise EngineError(f"unknown flag: {name}")
        raise EngineError(f"unknown shorthand flag: '{name[1:]}' in {word}")

    def _flag(self, name: str, value: str | None, word: str) -> None:
        option = self._option(name, word)
        flags = next(level for level in reversed(self._levels) if level.option(name)).flags
        shown = max(option.opts, key=len)
        if option.is_flag:
            if shown in flags:
                flags.remove(shown)
            if _truth(option, value):
                flags.append(shown)
            return
        if value is None:
            if not self._words:
                raise EngineError(_needs_argument(name, word))
            value = self._words.pop(0)
        flags += [shown, value] if len(shown) == len("-x") else [f"{shown}={value}"]


def _needs_argument(name: str, word: str) -> str:
    return f"flag needs an argument: {name if name.startswith('--') else f'{name[1:]!r} in {word}'}"


def _truth(option: click.Option, value: str | None) -> bool:
    if value is None or value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise EngineError(f'invalid argument "{value}" for "{", ".join(option.opts)}" flag: it is true or false')
