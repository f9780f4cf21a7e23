"""Show an operation as lines, without a terminal: one for each completed step, and one for its progress.

The lines are the Pulumi CLI's (3.260). The CLI prints more: one when a step begins, and one for each resource that a
refresh leaves unchanged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from pulumi_embedded.display.base import Display
from pulumi_embedded.display.changes import is_only_in_state, is_stack, short_diff, worth_a_line
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.display.outputs import outputs_text
from pulumi_embedded.display.rows import Row
from pulumi_embedded.display.summary import configuration_text, diagnostics_text, summary_text
from pulumi_embedded.model.events import Diagnostic, Event, Prelude, Severity, Status, StepView, Summary
from pulumi_embedded.model.options import Kind
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import display_type, urn_name, urn_stack

__all__ = ["HEADINGS", "ProgressDisplay", "watched"]

_SLOW: Final = 5.0
"""Seconds without a line after which a running step gets one. The interval doubles with each line."""

HEADINGS: Final = {
    (Kind.UPDATE, True): "Previewing update",
    (Kind.REFRESH, True): "Previewing refresh",
    (Kind.DESTROY, True): "Previewing destroy",
    (Kind.UPDATE, False): "Updating",
    (Kind.REFRESH, False): "Refreshing",
    (Kind.DESTROY, False): "Destroying",
}


_READS: Final = {Op.READ, Op.READ_DISCARD, Op.READ_REPLACEMENT}


class ProgressDisplay(Display):
    """Prints a row for each resource when its step has ended. `print_` receives text without its last newline."""

    def __init__(
        self,
        kind: Kind,
        stack_urn: str,
        printer: PropertyPrinter,
        print_: Callable[[str], None],
        options: DisplayOptions,
        *,
        preview: bool,
    ) -> None:
        self._preview = preview
        self._options = options
        self._stack_urn = stack_urn
        self._printer = printer
        self._print = print_
        self.over = False
        self.rows: dict[str, Row] = {}
        self._first = ""
        self._lock = threading.RLock()
        self._print(f"{HEADINGS[kind, preview]} ({urn_stack(stack_urn)}):")

    def __call__(self, event: Event) -> None:
        """Take one event. The summary is the last."""
        with self._lock:
            super().__call__(event)

    def _prelude(self, event: Prelude) -> None:
        if self._options.show_config:
            self._print(configuration_text(event))

    def _started(self, view: StepView) -> None:
        if (row := self._row_of(view)) is None:
            return
        row.view, row.started_at, row.ended_at = view, time.monotonic(), None
        if self._preview and view.op is not Op.REFRESH and self._is_worth_a_line(view) and not self._options.brief:
            self.updated(row)

    def _failed(self, view: StepView, status: Status) -> None:
        if (row := self._row_of(view)) is not None:
            row.failed = True
            self.updated(row)

    def _ended(self, view: StepView) -> None:
        if (row := self._row_of(view)) is None:
            return
        refreshed = row.op is Op.REFRESH
        row.view, row.ended_at, row.waits_for_a_line = view, time.monotonic(), False
        # A component's end is reported twice, before and after its children.
        again = any(ended.op is view.op for ended in row.ended)
        row.ended.append(view)
        quiet = self._preview or again or is_stack(view) or is_only_in_state(view)
        if refreshed:
            quiet = view.op is Op.REFRESH and not short_diff(view)
        if self._is_worth_a_line(view) and not quiet:
            self.updated(row)

    def _row(self, urn: str) -> Row:
        row = self.rows.get(urn)
        if row is None:
            row = self.rows[urn] = Row(urn, self._preview, order=len(self.rows), show_urn=self._options.show_urns)
        return row

    def _row_of(self, view: StepView) -> Row | None:
        if view.op in _READS and not self._options.show_reads:
            if view.op is Op.READ:
                text = f"read {display_type(view.urn)} {urn_name(view.urn)}"
                self._diagnostic(Diagnostic(self._stack_urn, Severity.INFO, text, ephemeral=True))
            return None
        row = self._row(view.urn)
        if view.op is not Op.REFRESH or is_stack(view):
            # Refreshes run beside each other: which begins first is chance.
            self._first = self._first or view.urn
        row.shown = row.shown or self._is_worth_a_line(view) or is_stack(view)
        return row

    def _is_worth_a_line(self, view: StepView) -> bool:
        return worth_a_line(view, sames=self._options.show_sames)

    def _diagnostic(self, event: Diagnostic) -> None:
        if event.severity is Severity.DEBUG or not event.message.strip():
            return
        row = self._row(event.urn or self._stack_urn)
        row.shown = True
        row.last = event
        if not event.ephemeral:
            row.messages.append(event)
        # Lasting messages are printed at the end. Before it, only the progress and the waits of an update are.
        if event.ephemeral and row.is_running:
            row.waits_for_a_line = True
        elif event.ephemeral or (event.severity is not Severity.ERROR and not self._preview):
            self.updated(row)

    def updated(self, row: Row) -> None:
        """Print a row that changed."""
        if row.shown and not (row.urn == self._stack_urn and row.op is Op.SAME):
            row.printed_at, row.waits_for_a_line = time.monotonic(), False
            self._print(row.text(self.over))

    def tell_slow(self) -> None:
        """Print the newest progress of each step, and again the row of a step that is long without a line."""
        brief = self._preview and self._options.brief
        with self._lock:
            for row in self.rows.values():
                if row.waits_for_a_line:
                    self.updated(row)
                if brief:
                    continue
                silent = time.monotonic() - max(row.started_at or 0, row.printed_at)
                if row.is_running and silent >= _SLOW * 2**row.reminders:
                    row.reminders += 1
                    self.updated(row)

    def _system(self, text: str) -> None:
        self._print(text)

    def _summary(self, event: Summary) -> None:
        unfinished = [row for row in self.rows.values() if row.view and not row.is_done(False)]
        self.over = True
        self.last_rows(unfinished)
        errored = sum(1 for row in self.rows.values() if row.count(Severity.ERROR))
        diagnostics = diagnostics_text(self._in_order())
        counts = summary_text(event, errored, preview=self._preview)
        if errored or any(row.failed for row in self.rows.values()):
            # The error and the command that helps are the last lines on the screen.
            self._print(counts)
            self._print(diagnostics.rstrip("\n"))
            return
        if diagnostics:
            self._print(diagnostics.removesuffix("\n"))
        unchanged = not any(number for op, number in event.changes.items() if op is not Op.SAME)
        if self._options.brief:
            if not unchanged:
                self._print(counts)
            return
        stack = self.rows.get(self._stack_urn)
        # The CLI shows no outputs if another resource came before the stack, as in a destroy.
        met = self._first == self._stack_urn
        if met and stack is not None and stack.view is not None and not self._options.suppress_outputs:
            outputs = outputs_text(
                stack.view,
                self._printer,
                planning=self._preview or unchanged,
                show_sames=self._options.show_sames,
            )
            if outputs:
                self._print(f"Outputs:\n{outputs}")
        self._print(counts)

    def last_rows(self, unfinished: list[Row]) -> None:
        """Print the rows that end with the operation itself."""
        for row in unfinished:
            well = row.view and is_only_in_state(row.view) and not row.failed and not row.messages
            if not self._preview and not well:
                self.updated(row)

    def _in_order(self) -> list[Row]:
        """Return the rows, with failed ones at the end, and the failed resource after the stack's error."""

        def place(row: Row) -> tuple[bool, bool, int]:
            errors = row.count(Severity.ERROR) > 0
            return errors, (row.urn == self._stack_urn) != errors, row.order

        return sorted(self.rows.values(), key=place)


@contextmanager
def watched(display: ProgressDisplay) -> Iterator[ProgressDisplay]:
    """Check each second of the block whether a step is slow."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1):
            display.tell_slow()

    watcher = threading.Thread(target=watch, name="slow steps", daemon=True)
    watcher.start()
    try:
        yield display
    finally:
        over.set()
        watcher.join()
