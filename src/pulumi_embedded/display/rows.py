"""One line for each resource: its sign, type, name, status and message (Pulumi CLI 3.260)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from pulumi_embedded.display.changes import is_stack, short_diff
from pulumi_embedded.model.events import Diagnostic, Severity, StepView
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import display_type, urn_name

__all__ = ["PAST", "PREFIX", "Row", "message_text"]

PREFIX: Final = {
    Op.SAME: "  ",
    Op.CREATE: "+ ",
    Op.DELETE: "- ",
    Op.UPDATE: "~ ",
    Op.REPLACE: "+-",
    Op.CREATE_REPLACEMENT: "++",
    Op.DELETE_REPLACED: "--",
    Op.READ: "> ",
    Op.READ_REPLACEMENT: ">>",
    Op.REFRESH: "~ ",
    Op.READ_DISCARD: "< ",
    Op.DISCARD_REPLACED: "<<",
    Op.REMOVE_PENDING_REPLACE: "~ ",
    Op.IMPORT: "= ",
    Op.IMPORT_REPLACEMENT: "=>",
}
# Preview, in progress, done, failed.
_WORDS: Final = {
    Op.SAME: ("", "", "", "failed"),
    Op.CREATE: ("create", "creating", "created", "creating failed"),
    Op.UPDATE: ("update", "updating", "updated", "updating failed"),
    Op.DELETE: ("delete", "deleting", "deleted", "deleting failed"),
    Op.REPLACE: ("replace", "replacing", "replaced", "replacing failed"),
    Op.CREATE_REPLACEMENT: (
        "create replacement",
        "creating replacement",
        "created replacement",
        "creating failed",
    ),
    Op.DELETE_REPLACED: ("delete original", "deleting original", "deleted original", "deleting failed"),
    Op.READ: ("read", "reading", "read", "reading failed"),
    Op.READ_REPLACEMENT: (
        "read for replacement",
        "reading for replacement",
        "read for replacement",
        "reading failed",
    ),
    Op.REFRESH: ("refreshing", "refreshing", "refresh", "refreshing failed"),
    Op.READ_DISCARD: ("discard", "discarding", "discarded", "discarding failed"),
    Op.DISCARD_REPLACED: (
        "discard original",
        "discarding original",
        "discarded original",
        "discarding failed",
    ),
    Op.REMOVE_PENDING_REPLACE: ("", "", "", ""),
    Op.IMPORT: ("import", "importing", "imported", "importing failed"),
    Op.IMPORT_REPLACEMENT: (
        "import replacement",
        "importing replacement",
        "imported replacement",
        "importing failed",
    ),
}
_REPLACEMENT: Final = {
    Op.REPLACE,
    Op.CREATE_REPLACEMENT,
    Op.DELETE_REPLACED,
    Op.READ_REPLACEMENT,
    Op.DISCARD_REPLACED,
}
PAST: Final = {op: words[2] for op, words in _WORDS.items()}
_RETAINED: Final = {Op.DELETE, Op.REPLACE, Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED}


def message_text(diagnostic: Diagnostic) -> str:
    """Return the message, with its severity in front unless it is information."""
    named = diagnostic.severity in (Severity.ERROR, Severity.WARNING, Severity.DEBUG)
    # Plugins and the protocol write a single error as a list.
    message = diagnostic.message.removeprefix("1 error occurred:\n\t* ")
    return f"{diagnostic.severity}: {message}" if named else message


@dataclass
class Row:
    """The line of a resource. `shown` is whether anything happened that needs a line."""

    urn: str
    preview: bool
    view: StepView | None = None
    ended: list[StepView] = field(default_factory=list)
    messages: list[Diagnostic] = field(default_factory=list)
    last: Diagnostic | None = None
    shown: bool = False
    failed: bool = False
    started_at: float | None = None
    ended_at: float | None = None
    printed_at: float = 0
    waits_for_a_line: bool = False
    """Whether its progress is not printed yet: that of a second is printed once, and not if the step ends within it."""
    reminders: int = 0
    """How often the row was printed because its step took long."""
    order: int = 0
    show_urn: bool = False

    @property
    def op(self) -> Op:
        """The operation on the resource."""
        return self.view.op if self.view else Op.SAME

    def count(self, *severities: Severity) -> int:
        """Return the number of lasting messages of these severities."""
        return sum(1 for message in self.messages if message.severity in severities)

    def is_done(self, over: bool) -> bool:
        """Return whether the line is final. The stack's line is final when everything is over."""
        if self.failed or over:
            return True
        if self.view is None or is_stack(self.view):
            return False
        return any(ended.op is self.view.op for ended in self.ended)

    @property
    def is_running(self) -> bool:
        """Whether a provider is working on the resource."""
        return bool(self.started_at and self.view and self.view.resource.custom and not self.is_done(False))

    def columns(self, over: bool) -> list[str]:
        """Return sign, type and name or the URN, status, info."""
        named = [self.urn] if self.show_urn else [display_type(self.urn), urn_name(self.urn)]
        return [PREFIX[self.op], *named, self.status(over), self.info(over)]

    def text(self, over: bool) -> str:
        """Return the line as it is printed without a terminal."""
        return " " + " ".join(self.columns(over))

    def status(self, over: bool) -> str:
        """Return the current or completed operation on the resource, with its time."""
        if over and self._interrupted():
            status = f"{_WORDS[self.op][1]} (interrupted)"
        else:
            status = self._done_status() if self.is_done(over) else self._running_status()
        old = self.view.old if self.view else None
        return status + "[retain]" if old and old.retain_on_delete and self.op in _RETAINED else status

    def _interrupted(self) -> bool:
        """Return whether the operation has ended, but the resource's step has not."""
        if self.view is None or self.failed or self.count(Severity.ERROR) or not self.view.resource.custom:
            return False
        quiet = self.op in (Op.SAME, Op.REMOVE_PENDING_REPLACE)
        return not quiet and not any(ended.op is self.op for ended in self.ended)

    def _running_status(self) -> str:
        if self.view is not None and is_stack(self.view) and self.op is Op.SAME:
            return "running"
        words = _WORDS[self.op]
        if self.preview or self.op is Op.SAME or self.started_at is None:
            return words[0] if self.preview else words[1]
        return f"{words[1]} ({int(time.monotonic() - self.started_at)}s)"

    def _done_status(self) -> str:
        if self.preview:
            if self.op in _REPLACEMENT:
                return "replace"
            if self.op.imports:
                return "import"
            return "refresh" if self.op is Op.REFRESH else _WORDS[self.op][0]
        failed = self.failed or self.count(Severity.ERROR) > 0
        text = _WORDS[self.op][3 if failed else 2] + self._duration()
        return f"**{text}**" if failed else text

    def _duration(self) -> str:
        if self.op is Op.SAME or self.started_at is None or self.ended_at is None:
            return ""
        seconds = self.ended_at - self.started_at
        return f" ({seconds:.2f}s)" if seconds < 1 else f" ({int(seconds)}s)"

    def info(self, over: bool) -> str:
        """Return the first line of the last message, or at the end the counts of errors and warnings, then the changes.

        Errors are omitted, because the diagnostics contain them.
        """
        counts = self._counts() if over else []
        informative = self.last is not None and self.last.severity is not Severity.ERROR
        parts = counts or (
            [message_text(self.last).split("\n")[0].removesuffix(":")] if self.last and informative else []
        )
        view = self.view
        if view is not None and view.op in (Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED):
            view = next((ended for ended in reversed(self.ended) if ended.op is Op.REPLACE), view)
        elif view is not None and view.op.imports:
            view = next((ended for ended in reversed(self.ended) if ended.op is self.op), view)
        changes = short_diff(view) if view else ""
        return "; ".join([*parts, *([f"[{changes}]"] if changes else [])])

    def _counts(self) -> list[str]:
        counted = {"error": self.count(Severity.ERROR), "warning": self.count(Severity.WARNING)}
        return [f"{count} {word}{'s' if count > 1 else ''}" for word, count in counted.items() if count]
