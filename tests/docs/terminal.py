"""Draw the output of a command in a terminal as a picture of a page: `python terminal.py COLUMNS COMMAND`.

The picture is SVG with real text. It follows the reader's light or dark scheme, and loads nothing.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from contextlib import suppress
from html import escape
from itertools import groupby

ROWS = 200
"""A terminal with this many rows cuts nothing."""

_SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|(.)", re.S)
_STYLES = {
    **{1: "bold", 2: "dim"},
    **{
        base + number: name
        for base in (30, 90)
        for number, name in enumerate(("dim", "red", "green", "yellow", "blue", "magenta", "cyan", ""))
    },
}
_RESET = {0, 22, 39}
_WIDTH, _HEIGHT, _MARGIN = 8.4, 20, 16

# Each colour has a contrast of at least 4.5 with its background. A test computes them.
COLOURS = {
    "light": {
        "ground": "#f6f8fa", "text": "#1f2328", "dim": "#59636e", "red": "#b3261e", "green": "#116329",
        "yellow": "#7d4e00", "blue": "#0550ae", "magenta": "#8250df", "cyan": "#0f6674",
    },
    "dark": {
        "ground": "#161b22", "text": "#e6edf3", "dim": "#9198a1", "red": "#ff7b72", "green": "#7ee787",
        "yellow": "#e3b341", "blue": "#79c0ff", "magenta": "#d2a8ff", "cyan": "#76e3ea",
    },
}  # fmt: skip

Cell = tuple[str, str]
"""A character and its styles."""


def printed(command: str, columns: int) -> str:
    """Run a shell command in a terminal, and return its output, with the sequences that style it."""
    pid, terminal = pty.fork()
    if pid == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        os.execve("/bin/sh", ["sh", "-c", command], {**os.environ, "TERM": "xterm"})
    written = b""
    # The terminal of an ended process cannot be read.
    with suppress(OSError):
        while data := os.read(terminal, 65536):
            written += data
    os.waitpid(pid, 0)
    return written.decode()


def screen(text: str, columns: int) -> list[list[Cell]]:
    """Return the lines that a terminal shows at the end, without empty lines at the bottom."""
    lines: list[list[Cell]] = [[]]
    row = column = 0
    styles: list[str] = []
    for numbers, letter, character in _SEQUENCE.findall(text):
        if letter == "m":
            for number in map(int, filter(None, (numbers or "0").split(";"))):
                styles = [] if number in _RESET else [*styles, _STYLES.get(number, "")]
        elif letter == "A":
            row = max(0, row - int(numbers or 1))
        elif letter == "K":
            lines[row] = [] if numbers == "2" else lines[row][:column]
        elif character == "\r":
            column = 0
        elif character == "\n":
            row += 1
        elif character and character.isprintable():
            if column == columns:
                row, column = row + 1, 0
            lines += [[] for _ in range(row + 1 - len(lines))]
            lines[row] += [(" ", "")] * (column - len(lines[row]))
            lines[row][column : column + 1] = [(character, " ".join(filter(None, styles)))]
            column += 1
        lines += [[] for _ in range(row + 1 - len(lines))]
    while lines and not "".join(character for character, _ in lines[-1]).strip():
        lines.pop()
    return lines


def picture(lines: list[list[Cell]], columns: int) -> str:
    """Return the lines as SVG."""
    width, height = round(columns * _WIDTH + 2 * _MARGIN), len(lines) * _HEIGHT + 2 * _MARGIN
    texts = [_text(line, _MARGIN + _HEIGHT * number - 5) for number, line in enumerate(lines, 1) if line]
    size = f'width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width} {height}">',
            f"<style>{_rules('light')}@media (prefers-color-scheme:dark){{{_rules('dark')}}}",
            "text{font:14px ui-monospace,Menlo,Consolas,monospace;white-space:pre}.bold{font-weight:700}",
            "</style>",
            f'<rect class="ground" {size} rx="8"/>',
            *texts,
            "</svg>\n",
        ]
    )


def _rules(scheme: str) -> str:
    names = {"text": "text", **{name: f".{name}" for name in COLOURS[scheme] if name != "text"}}
    return "".join(f"{names[name]}{{fill:{colour}}}" for name, colour in COLOURS[scheme].items())


def _text(line: list[Cell], y: int) -> str:
    spans = []
    for styles, cells in groupby(line, key=lambda cell: cell[1]):
        text = escape("".join(character for character, _ in cells), quote=False)
        spans.append(f'<tspan class="{styles}">{text}</tspan>' if styles else text)
    # The columns of two lines align with every font.
    length = f"{len(line) * _WIDTH:.1f}"
    return f'<text x="{_MARGIN}" y="{y}" textLength="{length}" xml:space="preserve">{"".join(spans)}</text>'


def main() -> None:
    """Print the picture of a command."""
    columns, command = int(sys.argv[1]), sys.argv[2]
    lines = [[(character, "bold") for character in f"$ {command}"], *screen(printed(command, columns), columns)]
    print(picture(lines, columns), end="")


if __name__ == "__main__":
    main()
