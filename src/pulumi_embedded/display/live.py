"""The display of an operation in a terminal: one live line per resource, then the lasting text (with rich)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.progress import ProgressDisplay
from pulumi_embedded.display.rows import Row
from pulumi_embedded.options import Kind
from pulumi_embedded.steps import Op

__all__ = ["coloured", "live_display"]

_COLOURS: Final = {
    Op.CREATE: "green",
    Op.CREATE_REPLACEMENT: "green",
    Op.UPDATE: "yellow",
    Op.REPLACE: "magenta",
    Op.DELETE: "red",
    Op.DELETE_REPLACED: "red",
    Op.READ: "cyan",
    Op.REFRESH: "cyan",
}
_LINE_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow"}
_FRAMES_PER_SECOND: Final = 8


def coloured(text: str) -> Text:
    """The text with every line in the colour of its sign."""
    result = Text()
    for line in text.split("\n"):
        stripped = line.lstrip()
        style = "bold red" if stripped.startswith("error:") else "yellow" if stripped.startswith("warning:") else ""
        if stripped[1:2] in (" ", "+", "-") and stripped[:1] in _LINE_COLOURS:
            style = _LINE_COLOURS[stripped[0]]
        elif line in ("Diagnostics:", "Outputs:", "Resources:") or line.startswith("Duration:"):
            style = "bold"
        result.append(line + "\n", style)
    result.right_crop(1)
    return result


class _LiveDisplay(ProgressDisplay):
    """A progress display whose rows are drawn again several times a second instead of printed."""

    live: Live | None = None

    def updated(self, row: Row) -> None:
        """The next frame shows it."""

    def last_rows(self, unfinished: list[Row]) -> None:
        """Draws the rows a last time, where they stay."""
        if self.live is not None:
            self.live.update(self.table(), refresh=True)
            self.live.stop()

    def table(self) -> RenderableType:
        """The rows as they are now, the stack's first."""
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold", pad_edge=False)
        for title in ("", "Type", "Name", "Status" if not self._preview else "Plan", "Info"):
            table.add_column(title, no_wrap=title != "Info", overflow="ellipsis")
        rows = [row for row in list(self.rows.values()) if row.shown]
        for row in sorted(rows, key=lambda row: (row.urn != self._stack_urn, row.order)):
            sign, type_, name, status, info = row.columns(self.over)
            style = "bold red" if "**" in status else _COLOURS.get(row.op, "")
            indent = "" if row.urn == self._stack_urn else "  "
            table.add_row(
                Text(sign, style),
                indent + type_,
                name,
                Text(status.replace("**", ""), style),
                Text(info, overflow="ellipsis"),
            )
        return Group(table, Text(""))


@contextmanager
def live_display(
    kind: Kind,
    stack: str,
    stack_urn: str,
    printer: PropertyPrinter,
    *,
    preview: bool,
) -> Iterator[ProgressDisplay]:
    """A live display on this terminal; the rows stay above the text that follows them."""
    console = Console(highlight=False, soft_wrap=True)
    lock = threading.RLock()

    def print_(text: str) -> None:
        with lock:
            console.print(coloured(text))

    display = _LiveDisplay(kind, stack, stack_urn, printer, print_, preview=preview)
    live = Live(
        console=console,
        get_renderable=display.table,
        refresh_per_second=_FRAMES_PER_SECOND,
        vertical_overflow="visible",
    )
    display.live = live
    with live:
        yield display
