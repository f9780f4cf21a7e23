"""The display of an operation as lines: one whenever a resource's state changes (Pulumi CLI 3.260, no terminal)."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from pulumi_embedded.display.changes import is_stack, worth_a_line
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.display.outputs import outputs_text
from pulumi_embedded.display.rows import Row
from pulumi_embedded.display.summary import configuration_text, diagnostics_text, summary_text
from pulumi_embedded.model.events import (
    Diagnostic,
    Event,
    Prelude,
    Severity,
    StepEnded,
    StepFailed,
    StepStarted,
    Summary,
    SystemMessage,
)
from pulumi_embedded.model.options import Kind
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import display_type, urn_name, urn_stack

__all__ = ["HEADINGS", "ProgressDisplay"]

HEADINGS: Final = {
    (Kind.UPDATE, True): "Previewing update",
    (Kind.REFRESH, True): "Previewing refresh",
    (Kind.DESTROY, True): "Previewing destroy",
    (Kind.UPDATE, False): "Updating",
    (Kind.REFRESH, False): "Refreshing",
    (Kind.DESTROY, False): "Destroying",
}


_READS: Final = {Op.READ, Op.READ_DISCARD, Op.READ_REPLACEMENT}


class ProgressDisplay:
    """Keeps a row per resource and prints it when it changes; `print_` takes text without its last newline."""

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
        self._print(f"{HEADINGS[kind, preview]} ({urn_stack(stack_urn)}):")

    def __call__(self, event: Event) -> None:
        """Takes one event; the summary is the last."""
        if isinstance(event, Summary):
            self._finish(event)
        elif isinstance(event, SystemMessage):
            self.system(event.text)
        elif isinstance(event, StepStarted | StepEnded | StepFailed):
            self._step(event)
        elif isinstance(event, Prelude):
            if self._options.show_config:
                self._print(configuration_text(event))
        elif isinstance(event, Diagnostic):
            self._diagnostic(event)

    def _row(self, urn: str) -> Row:
        row = self.rows.get(urn)
        if row is None:
            row = self.rows[urn] = Row(urn, self._preview, order=len(self.rows), show_urn=self._options.show_urns)
        return row

    def _step(self, event: StepStarted | StepEnded | StepFailed) -> None:
        view = event.step
        if view.op in _READS and not self._options.show_reads:
            if view.op is Op.READ:
                text = f"read {display_type(view.urn)} {urn_name(view.urn)}"
                self._diagnostic(Diagnostic(self._stack_urn, Severity.INFO, text, ephemeral=True))
            return
        row = self._row(view.urn)
        self._first = self._first or view.urn
        row.shown = row.shown or worth_a_line(view, sames=self._options.show_sames) or is_stack(view)
        refreshed = row.op is Op.REFRESH
        if isinstance(event, StepStarted):
            row.view, row.started_at, row.ended_at = view, time.monotonic(), None
        elif isinstance(event, StepFailed):
            row.failed = True
        else:
            row.view, row.ended_at = view, time.monotonic()
            row.ended.append(view)
            changed = view.resource.custom and view.op is not Op.SAME
            if not (refreshed or (changed and not self._preview)):
                self.quiet_update()
                return
        self.updated(row)

    def _diagnostic(self, event: Diagnostic) -> None:
        if event.severity is Severity.DEBUG or not event.message.strip():
            return
        row = self._row(event.urn or self._stack_urn)
        row.shown = True
        row.last = event
        if not event.ephemeral:
            row.messages.append(event)
        self.updated(row)

    def updated(self, row: Row) -> None:
        """A row changed in a way that is worth a line."""
        if row.shown:
            self._print(row.text(self.over))

    def quiet_update(self) -> None:
        """A row changed in a way that its line says already."""

    def system(self, text: str) -> None:
        """Says something that belongs to no resource."""
        self._print(text)

    def _finish(self, summary: Summary) -> None:
        unfinished = [row for row in self.rows.values() if not row.is_done(False)]
        self.over = True
        self.last_rows(unfinished)
        text = diagnostics_text(self._in_order())
        if text:
            self._print(text.removesuffix("\n"))
        stack = self.rows.get(self._stack_urn)
        # The CLI has no outputs to show where it met another resource before the stack, as when destroying.
        met = self._first == self._stack_urn
        if met and stack is not None and stack.view is not None and not self._options.suppress_outputs:
            outputs = outputs_text(
                stack.view, self._printer, planning=self._preview, show_sames=self._options.show_sames
            )
            if outputs:
                self._print(f"Outputs:\n{outputs}")
        errored = sum(1 for row in self.rows.values() if row.count(Severity.ERROR))
        self._print(summary_text(summary, errored, preview=self._preview))

    def last_rows(self, unfinished: list[Row]) -> None:
        """The rows that end with the operation itself."""
        for row in unfinished:
            self.updated(row)

    def _in_order(self) -> list[Row]:
        """The rows with the stack's last, where the summary of everything is looked for."""
        return sorted(self.rows.values(), key=lambda row: (row.urn == self._stack_urn, row.order))
