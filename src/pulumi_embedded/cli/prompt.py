"""A question with several answers, chosen by arrow keys or by typing, as in the Pulumi CLI (3.260)."""

from __future__ import annotations

import os
import re
import shutil
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import click

from pulumi_embedded.printable import printable

__all__ = ["choose", "keys_of"]

_END: Final = "\x04"
_INTERRUPT: Final = "\x03"
# An arrow key is three characters.
_KEY: Final = re.compile(r"\x1b[\[O][A-Z]|.", re.DOTALL)
_BEGUN: Final = re.compile(r"\x1b[\[O]?\Z")


def choose(question: str, answers: Sequence[str], default: str) -> str:
    """Ask, and return the chosen answer. Ctrl-D chooses the default.

    Args:
        question: The question.
        answers: The answers.
        default: The answer that is selected first.

    Raises:
        KeyboardInterrupt: The user pressed Ctrl-C.
        click.Abort: The terminal was closed.

    """
    if os.environ.get("TERM", "dumb") == "dumb":
        return str(click.prompt(question, type=click.Choice(list(answers)), default=default))
    menu = _Menu(question, answers, default)
    typed = ""
    with _keys_as_they_come():
        while menu.chosen is None:
            menu.draw()
            read = os.read(sys.stdin.fileno(), 64)
            if not read:
                raise click.Abort
            keys, typed = keys_of(typed + read.decode(errors="ignore"))
            for key in keys:
                menu.take(key)
    menu.close()
    return menu.chosen


def keys_of(typed: str) -> tuple[list[str], str]:
    """Return the typed keys, and the beginning of an incomplete key, because a terminal can cut its input anywhere."""
    whole = _BEGUN.sub("", typed)
    return _KEY.findall(whole), typed[len(whole) :]


@contextmanager
def _keys_as_they_come() -> Iterator[None]:
    """Read keys without Enter, and keep keys that were typed before.

    Ctrl-C is read as a key too, because the signal would be lost if the calling shell ignores it.
    """
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal, termios.TCSADRAIN)
    now = termios.tcgetattr(terminal)
    now[tty.LFLAG] &= ~termios.ISIG
    termios.tcsetattr(terminal, termios.TCSADRAIN, now)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class _Menu:
    def __init__(self, question: str, answers: Sequence[str], default: str) -> None:
        self._question = question
        self._answers = answers
        self._typed = ""
        self._default = default
        self._at = answers.index(default)
        self._drawn = 0
        self.chosen: str | None = None

    def _left(self) -> list[str]:
        return [answer for answer in self._answers if self._typed.lower() in answer.lower()]

    def take(self, key: str) -> None:
        """Handle one key. An arrow moves, Enter chooses, other keys filter the answers. Raises KeyboardInterrupt."""
        left = self._left()
        if self.chosen is not None:
            return
        if key in ("\r", "\n"):
            self.chosen = left[self._at] if left else None
        elif key == _INTERRUPT:
            raise KeyboardInterrupt
        elif key == _END:
            self.chosen = self._default
        elif key in ("\x1b[A", "\x1bOA", "\x1b[B", "\x1bOB"):
            self._at = (self._at + (1 if key.endswith("B") else -1)) % max(len(left), 1)
        elif key in ("\x7f", "\b"):
            self._typed, self._at = self._typed[:-1], 0
        elif key.isprintable():
            self._typed, self._at = self._typed + key, 0

    def draw(self) -> None:
        """Draw the remaining answers in place of the former ones."""
        hint = "[Use arrows to move, type to filter]"
        lines = f"{self._question} {self._typed} {hint}".split("\n")
        lines += [f"{'>' if index == self._at else ' '} {answer}" for index, answer in enumerate(self._left())]
        lines = [printable(line) for line in lines]
        self._erase()
        click.echo("\n".join(lines))
        width = max(shutil.get_terminal_size().columns, 1)
        self._drawn = sum(max(1, -(-len(line) // width)) for line in lines)

    def _erase(self) -> None:
        if self._drawn:
            sys.stdout.flush()
            os.write(sys.stdout.fileno(), f"\x1b[{self._drawn}A\x1b[J".encode())

    def close(self) -> None:
        """Replace the choices by the answer."""
        self._erase()
        click.echo(f"{self._question} {self.chosen}")
