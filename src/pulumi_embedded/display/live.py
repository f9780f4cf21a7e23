"""Show an operation in a terminal with rich: one live line for each resource, then the final text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from pulumi_embedded.display.columns import fitted
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.display.progress import ProgressDisplay
from pulumi_embedded.display.rows import Row
from pulumi_embedded.display.terminal import coloured, console
from pulumi_embedded.display.tree import Branch, tree
from pulumi_embedded.model.options import Kind
from pulumi_embedded.model.steps import Op
from pulumi_embedded.printable import printable

__all__ = ["live_display"]

_COLOURS: Final = {
    Op.CREATE: "green",
    Op.CREATE_REPLACEMENT: "green",
    Op.UPDATE: "yellow",
    Op.REPLACE: "magenta",
    Op.DELETE: "red",
    Op.DELETE_REPLACED: "red",
    Op.READ: "cyan",
    Op.REFRESH: "cyan",
    Op.IMPORT: "green",
    Op.IMPORT_REPLACEMENT: "magenta",
}
_FRAMES_PER_SECOND: Final = 8
# The heading of the table, the line below it, and the line of the cursor.
_AROUND_ROWS: Final = 3


class _LiveDisplay(ProgressDisplay):
    """A progress display that redraws its rows several times a second."""

    live: Live | None = None

    def updated(self, row: Row) -> None:
        """Do nothing, because the next frame shows the row."""

    def last_rows(self, unfinished: list[Row]) -> None:
        """Draw the rows for the last time. They remain on the screen."""
        if self.live is not None:
            self.live.stop()

    def frame(self) -> RenderableType:
        """Return the rows that fit into the terminal, running ones first."""
        branches = tree(list(self.rows.values()), self._stack_urn)
        room = max(1, (self.live.console.height if self.live else 0) - _AROUND_ROWS)
        if self.over or self.live is None or len(branches) <= room:
            return self._table(branches)
        running = [branch for branch in branches if not branch.row.is_done(self.over)]
        shown = {id(branch) for branch in running[-room + 1 :]}
        for branch in reversed(branches):
            if len(shown) < room - 1:
                shown.add(id(branch))
        hidden = len(branches) - len(shown)
        return Group(self._table([branch for branch in branches if id(branch) in shown]), Text(f"  … {hidden} more"))

    def _table(self, branches: list[Branch]) -> RenderableType:
        named = ["URN"] if self._options.show_urns else ["Type", "Name"]
        titles = ["", *named, "Plan" if self._preview else "Status", "Info"]
        rows = [[Text(title, "bold") for title in titles], *(self._cells(branch) for branch in branches)]
        return Group(*fitted(rows, (self.live.console.width if self.live else 0) - 1), "")

    def _cells(self, branch: Branch) -> list[Text]:
        sign, first, *names, status, info = branch.row.columns(self.over)
        style = "bold red" if "**" in status else _COLOURS.get(branch.row.op, "")
        cells = [(sign, style), (branch.indent + _one_line(first), ""), *((_one_line(name), "") for name in names)]
        cells += [(status.replace("**", ""), style), (_one_line(info), "")]
        return [Text(text, cell_style) for text, cell_style in cells]


def _one_line(text: str) -> str:
    """Return a text of a program or a plugin without characters that move the cursor."""
    return printable(" ".join(text.splitlines()).replace("\t", " "))


@contextmanager
def live_display(
    kind: Kind,
    stack_urn: str,
    printer: PropertyPrinter,
    options: DisplayOptions,
    *,
    preview: bool,
) -> Iterator[ProgressDisplay]:
    """Return a live display on this terminal. Its rows remain above the text that follows."""
    terminal = console(color=options.color)
    lock = threading.RLock()

    def print_(text: str) -> None:
        with lock:
            terminal.print(coloured(text))

    display = _LiveDisplay(kind, stack_urn, printer, print_, options, preview=preview)
    live = Live(console=terminal, get_renderable=display.frame, refresh_per_second=_FRAMES_PER_SECOND)
    display.live = live
    with live:
        yield display
