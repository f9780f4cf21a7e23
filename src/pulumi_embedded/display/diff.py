"""Show an operation as a diff: every changed resource with its properties (Pulumi CLI 3.260, `--diff`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

from pulumi_embedded.display.base import Display
from pulumi_embedded.display.changes import is_stack, translate, worth_a_line
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.display.outputs import outputs_text
from pulumi_embedded.display.progress import HEADINGS
from pulumi_embedded.display.rows import PREFIX, message_text
from pulumi_embedded.display.summary import configuration_text, summary_text
from pulumi_embedded.model.differ import diff_objects
from pulumi_embedded.model.events import Diagnostic, Prelude, Severity, Status, StepView, Summary
from pulumi_embedded.model.options import Kind
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.values import Properties

__all__ = ["DiffDisplay"]

_SIGN = {Op.CREATE: "add", Op.DELETE: "delete", Op.UPDATE: "update"}


class DiffDisplay(Display):
    """Prints each resource once, indented below its shown parents. Messages are printed on standard error.

    Without a stack's name, no heading is printed.
    """

    def __init__(
        self,
        kind: Kind,
        stack: str,
        printer: PropertyPrinter,
        print_: Callable[[str], None],
        options: DisplayOptions,
        *,
        preview: bool,
    ) -> None:
        self._preview = preview
        self._options = options
        self._printer = printer
        self._print = print_
        self._seen: dict[str, StepView] = {}
        self._failures = 0
        if stack:
            self._print(f"{HEADINGS[kind, preview]} ({stack}):")

    def _failed(self, view: StepView, status: Status) -> None:
        self._failures += 1

    def _diagnostic(self, event: Diagnostic) -> None:
        if event.severity is not Severity.DEBUG and not event.ephemeral:
            print(message_text(event) + ("\n" if event.stream else ""), file=sys.stderr, flush=True)

    def _prelude(self, event: Prelude) -> None:
        if self._options.show_config:
            self._print(configuration_text(event).removesuffix("\n"))

    def _system(self, text: str) -> None:
        self._print(text)

    def _summary(self, event: Summary) -> None:
        self._print(summary_text(event, self._failures, preview=self._preview).removesuffix("\n"))

    def _shown(self, view: StepView) -> bool:
        parts = self._options.show_replacement_steps
        shown = worth_a_line(view, sames=self._options.show_sames) and (parts or not view.op.is_part)
        return is_stack(view) or shown

    def _started(self, view: StepView) -> None:
        self._seen[view.urn] = view
        # The result of an import is known when it has ended.
        if view.op not in (Op.REFRESH, Op.IMPORT) and self._shown(view):
            self._print((self._header(view) + self._details(view)).removesuffix("\n"))

    def _ended(self, view: StepView) -> None:
        if not self._shown(view):
            return
        started = self._seen.get(view.urn)
        refresh = started is not None and started.op is Op.REFRESH
        if view.op is Op.IMPORT or (refresh and view.op is Op.UPDATE):
            self._print((self._header(view) + self._details(view, refresh=refresh)).removesuffix("\n"))
            return
        printer = self._at(view, 1)
        sames = self._options.show_sames
        outputs = outputs_text(view, printer, planning=self._preview, refresh=refresh, show_sames=sames)
        text = ""
        if refresh and (view.op is not Op.REFRESH or outputs or is_stack(view)):
            text = self._header(view)
        if outputs and not self._options.suppress_outputs:
            text += f"{'    ' * printer.indent}--outputs:--\n{outputs}"
        if text:
            self._print(text.removesuffix("\n"))

    def _at(self, view: StepView, depth: int) -> PropertyPrinter:
        return replace(self._printer, indent=self._indent(view) + depth, op=_SIGN.get(view.op, "same"))

    def _indent(self, view: StepView) -> int:
        indent, parent = 0, view.resource.parent
        while parent in self._seen:
            above = self._seen[parent]
            if is_stack(above) or worth_a_line(above, sames=self._options.show_sames):
                indent += 1
            parent = above.resource.parent
        return indent

    def _header(self, view: StepView) -> str:
        indent = self._indent(view)
        margin, inner = "    " * indent, "    " * (indent + 1)
        locked = (view.new or view.old) is not None and view.resource.protect
        unlocked = view.old is not None and view.old.protect and view.new is not None and not view.new.protect
        lock = " 🔓" if unlocked else " 🔒" if locked else ""
        retain = "[retain]" if view.old and view.old.retain_on_delete and view.op in _RETAINED else ""
        urns = self._options.show_urns
        text = f"{margin}{PREFIX[view.op]}{view.urn if urns else view.resource.type}: ({view.op}{retain}){lock}\n"
        if view.old is not None and view.old.id:
            text += f"{inner}[id={view.old.id}]\n"
        text += "" if urns else f"{inner}[urn={view.urn}]\n"
        return text + self._provider(view, inner)

    @staticmethod
    def _provider(view: StepView, margin: str) -> str:
        reference = view.resource.provider
        if not reference:
            return ""
        if view.old is not None and view.new is not None and view.old.provider != view.new.provider:
            return f"{margin}[provider: {view.old.provider} => {view.new.provider}]\n"
        name = reference.rpartition("::")[0].split("::", 3)[3]
        return "" if name == "default" else f"{margin}[provider={reference}]\n"

    def _details(self, view: StepView, *, refresh: bool = False) -> str:
        if view.op is Op.SAME:
            return ""
        printer = self._at(view, 1)
        old, new = view.old, view.new
        if view.detailed_diff is not None:
            diff = translate(view, refresh)
            if diff is not None:
                return printer.object_diff(diff)
            return replace(printer, op="same", prefix=True).properties(old.inputs if old else {})
        if old is None:
            return printer.properties((new.outputs or new.inputs) if new else {})
        if new is None:
            return "" if printer.summary else printer.properties(old.inputs)
        if new.outputs and not view.op.imports:
            return self._difference(printer, old.outputs, new.outputs)
        return self._difference(printer, old.inputs, new.inputs, view.diffs)

    @staticmethod
    def _difference(printer: PropertyPrinter, old: Properties, new: Properties, only: tuple[str, ...] = ()) -> str:
        diff = diff_objects(old, new)
        if diff is None:
            return replace(printer, op="same", prefix=True).properties(new)
        if only:
            for part in (diff.adds, diff.deletes, diff.sames, diff.updates):
                for name in set(part) - set(only):
                    del part[name]
        return printer.object_diff(diff)


_RETAINED = {Op.DELETE, Op.REPLACE}
