"""Print text, with or without colour."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Final, cast

from pulumi_embedded.printable import GuardedStream, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

__all__ = ["coloured", "console", "printer_of_text"]

_LINE_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow"}
_HEADINGS: Final = {"Changes:", "Configuration:", "Diagnostics:", "Outputs:", "Resources:"}


def console(*, color: bool) -> Console:
    """Return the terminal. Without colour it prints plain text in the same places."""
    from rich.console import Console

    # rich writes control sequences for the terminal. The text itself is made printable before.
    stream = sys.stdout.plain if isinstance(sys.stdout, GuardedStream) else sys.stdout
    file = cast("IO[str]", stream)
    return Console(file=file, highlight=False, soft_wrap=True, force_terminal=color or None, no_color=not color)


def printer_of_text(*, color: bool) -> Callable[[str], None]:
    """Return a function that prints a text and a newline."""
    if not color:
        return lambda text: print(text, flush=True)
    terminal = console(color=True)
    return lambda text: terminal.print(coloured(text))


def coloured(text: str) -> Text:
    """Return the text with every line in the colour of its sign."""
    from rich.text import Text

    result = Text()
    for line in printable(text).split("\n"):
        stripped = line.lstrip()
        style = "bold red" if stripped.startswith("error:") else "yellow" if stripped.startswith("warning:") else ""
        if stripped[1:2] in (" ", "+", "-") and stripped[:1] in _LINE_COLOURS:
            style = _LINE_COLOURS[stripped[0]]
        elif line in _HEADINGS or line.startswith("Duration:"):
            style = "bold"
        result.append(line + "\n", style)
    result.right_crop(1)
    return result
