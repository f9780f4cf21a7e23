"""Print property values and their differences as the Pulumi CLI does (3.260), without colour."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from pulumi_embedded.display.text import decoded, number, quoted
from pulumi_embedded.model.differ import ArrayDiff, ObjectDiff, ValueDiff, diff_values, is_internal
from pulumi_embedded.model.values import UNKNOWN, Secret, Value

__all__ = ["PropertyPrinter", "worth_showing"]

_MAX_LINES: Final = 3
_MAX_CHARACTERS: Final = 150
_CONTEXT: Final = 2
_PREFIX: Final = {"add": "+ ", "delete": "- ", "update": "~ ", "same": "  "}

Title = Callable[["PropertyPrinter"], str]


def worth_showing(value: Value) -> bool:
    """Return whether a value is shown. Nulls and empty strings, lists and objects are not."""
    return value is not None and value != "" and value != [] and value != {}


@dataclass(frozen=True)
class PropertyPrinter:
    """Prints values at one depth of indentation.

    Attributes:
        op: The change whose sign lines have.
        prefix: Whether lines have a sign.
        truncate: Whether long texts are shortened.
        summary: Whether unchanged parts of differences are omitted.
        mask: Replaces secrets in texts.

    """

    indent: int
    op: str = "same"
    prefix: bool = False
    truncate: bool = True
    summary: bool = False
    mask: Callable[[str], str] = str

    def _at(self, depth: int, op: str | None = None, prefix: bool | None = None) -> PropertyPrinter:
        return replace(
            self,
            indent=self.indent + depth,
            op=self.op if op is None else op,
            prefix=self.prefix if prefix is None else prefix,
        )

    def _margin(self, *, signed: bool = True) -> str:
        margin = "    " * self.indent
        return margin[:-2] + _PREFIX[self.op] if self.prefix and signed and margin else margin

    def _title(self, name: str, width: int) -> Title:
        return lambda printer: f"{printer._margin()}{name:<{width}}: "

    def properties(self, properties: Mapping[str, Value]) -> str:
        """Return the properties of an object with aligned names, without internal ones."""
        width = max((len(name) for name in properties), default=0)
        return "".join(
            self._title(name, width)(self) + self.value(properties[name]) + "\n"
            for name in sorted(properties)
            if not is_internal(name)
        )

    def property(self, name: str, width: int, value: Value) -> str:
        """Return one property with its name."""
        return self._title(name, width)(self) + self.value(value) + "\n"

    def value(self, value: Value) -> str:
        """Return a value, on several lines if it has parts."""
        if isinstance(value, Secret):
            return "[secret]"
        if isinstance(value, list):
            if not value:
                return "[]"
            parts = "".join(
                f"{self._margin()}    [{index}]: {self._at(1).value(element)}\n" for index, element in enumerate(value)
            )
            return f"[\n{parts}{self._margin(signed=False)}]"
        if isinstance(value, dict):
            return "{\n" + self._at(1).properties(value) + self._margin(signed=False) + "}" if value else "{}"
        return self._primitive(value)

    def _primitive(self, value: Value) -> str:
        if value is UNKNOWN:
            return "[unknown]"
        if value is None:
            return "<null>"
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return self._string(value)
        return number(value) if isinstance(value, float) else str(value)

    def _string(self, text: str) -> str:
        text = self.mask(text)
        document = decoded(text)
        if document is not None:
            return f"({document.kind}) {replace(self, mask=str).value(document.value)}\n"
        return quoted(self._shortened(text) if self.truncate else text)

    @staticmethod
    def _shortened(text: str) -> str:
        lines = text.split("\n")
        kept = [line[:_MAX_CHARACTERS] + "..." if len(line) > _MAX_CHARACTERS else line for line in lines[:_MAX_LINES]]
        return "\n".join(kept) + ("\n..." if len(lines) > _MAX_LINES else "")

    def object_diff(self, diff: ObjectDiff, *, planning: bool = True) -> str:
        """Return the difference of two objects, with one entry for each property. Unchanged ones have no sign."""
        keys = diff.keys()
        width = max((len(key) for key in keys), default=0)
        return "".join(self.property_diff(key, width, diff) for key in keys)

    def property_diff(self, name: str, width: int, diff: ObjectDiff) -> str:
        """Return the difference of one property."""
        title = self._title(name, width)
        if name in diff.adds:
            return self._added(diff.adds[name], title)
        if name in diff.deletes:
            return self._deleted(diff.deletes[name], title)
        if name in diff.updates:
            return self._updated(diff.updates[name], title)
        if worth_showing(diff.sames[name]) and not self.summary:
            return self._at(0, "same", False).property(name, width, diff.sames[name])
        return ""

    def _added(self, value: Value, title: Title) -> str:
        printer = self._at(0, "add", True)
        return title(printer) + printer.value(value) + "\n"

    def _deleted(self, value: Value, title: Title) -> str:
        printer = self._at(0, "delete", True)
        return title(printer) + printer.value(value) + "\n"

    def _updated(self, diff: ValueDiff, title: Title) -> str:
        printer = self._at(0, "update", True)
        if diff.array is not None:
            end = printer._margin(signed=False)
            return f"{title(printer)}[\n{printer._array_diff(diff.array)}{end}]\n"
        if diff.object is not None:
            end = printer._margin(signed=False)
            return f"{title(printer)}{{\n{printer._at(1).object_diff(diff.object)}{end}}}\n"
        return printer._leaf(diff, title)

    def _array_diff(self, diff: ArrayDiff) -> str:
        text = ""
        inner = self._at(2)
        for index in range(len(diff)):
            title = _element_title(index)
            if index in diff.adds:
                text += inner._added(diff.adds[index], title)
            elif index in diff.deletes:
                text += inner._deleted(diff.deletes[index], title)
            elif index in diff.updates:
                text += inner._updated(diff.updates[index], title)
            elif index in diff.sames and not self.summary:
                same = inner._at(0, "same", False)
                text += title(same) + same.value(diff.sames[index]) + "\n"
        return text

    def _leaf(self, diff: ValueDiff, title: Title) -> str:
        old, new = diff.old, diff.new
        show_old, show_new = worth_showing(old), worth_showing(new)
        if show_old and show_new and not isinstance(old, list | dict) and not isinstance(new, list | dict):
            if isinstance(old, str) and isinstance(new, str):
                return title(self) + self._text_diff(old, new)
            return f"{title(self)}{self._primitive_or_secret(old)} => {self._primitive_or_secret(new)}\n"
        text = self._deleted(old, title) if show_old else ""
        return text + (self._added(new, title) if show_new else "")

    def _primitive_or_secret(self, value: Value) -> str:
        return "[secret]" if isinstance(value, Secret) else self._primitive(value)

    def _text_diff(self, old: str, new: str) -> str:
        old, new = self.mask(old), self.mask(new)
        before, after = decoded(old), decoded(new)
        if before is not None and after is not None:
            change = diff_values(before.value, after.value)
            if change is None:
                return f"{quoted(quoted(old))} => {quoted(quoted(new))}\n"
            kind = before.kind if before.kind == after.kind else f"{before.kind} => {after.kind}"
            return f"({kind}) " + replace(self, mask=str)._updated(change, lambda _: "")
        if "\n" not in old and "\n" not in new:
            return f"{quoted(old)} => {quoted(new)}\n"
        return "\n" + self._at(1)._line_diff(old.split("\n"), new.split("\n"))

    def _line_diff(self, old: list[str], new: list[str]) -> str:
        text = ""
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
        for index, (tag, start, end, new_start, new_end) in enumerate(blocks):
            if tag == "equal":
                lines = [line for line in old[start:end] if line.strip()]
                text += self._same_lines(lines, first=index == 0, last=index == len(blocks) - 1)
            else:
                text += self._lines("delete", old[start:end]) + self._lines("add", new[new_start:new_end])
        return text

    def _lines(self, op: str, lines: list[str]) -> str:
        printer = self._at(0, op, op != "same")
        return "".join(f"{printer._margin()}{line}\n" for line in lines if line.strip())

    def _same_lines(self, lines: list[str], *, first: bool, last: bool) -> str:
        head = 0 if first else _CONTEXT
        tail = 0 if last else _CONTEXT
        if len(lines) <= head + tail + 1:
            return self._lines("same", lines)
        after = lines[len(lines) - tail :]
        return self._lines("same", [*lines[:head], "...", *after])


def _element_title(index: int) -> Title:
    return lambda printer: f"{printer._at(-1)._margin()}[{index}]: "
