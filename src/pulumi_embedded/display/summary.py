"""The end of an operation's display: diagnostics by resource, then the counts and the time."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from pulumi_embedded.display.rows import PREFIX, Row, message_text
from pulumi_embedded.model.events import Prelude, Summary
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import display_type, urn_name

__all__ = ["configuration_text", "diagnostics_text", "summary_text"]

_ORDER = (
    Op.CREATE,
    Op.UPDATE,
    Op.DELETE,
    Op.REPLACE,
    Op.CREATE_REPLACEMENT,
    Op.DELETE_REPLACED,
    Op.REFRESH,
    Op.REMOVE_PENDING_REPLACE,
    Op.IMPORT,
)
_PAST = {
    Op.CREATE: "created",
    Op.UPDATE: "updated",
    Op.DELETE: "deleted",
    Op.REPLACE: "replaced",
    Op.REFRESH: "refreshed",
    Op.REMOVE_PENDING_REPLACE: "removed",
    Op.IMPORT: "imported",
}


def configuration_text(prelude: Prelude) -> str:
    """Return the configuration, a key on each line, with blinded secrets."""
    values = ((key, value.blinded if value.secret else value.text) for key, value in sorted(prelude.config.items()))
    return "".join(["Configuration:\n", *(f"    {key}: {text}\n" for key, text in values)])


_MANY: Final = 3
"""From how many resources on their common message is printed once."""


def diagnostics_text(rows: Iterable[Row]) -> str:
    """Return every lasting message below its resource, grouped by stream. Empty without messages.

    A message that many resources share, except for their names, is printed once: a stopped server fails all of them.
    """
    blocks: dict[str, list[tuple[Row, str]]] = {}
    for row in rows:
        streams: dict[int, str] = {}
        for message in row.messages:
            block = "".join(f"    {line}".rstrip() + "\n" for line in _displayable(message_text(message)))
            streams[message.stream] = streams.get(message.stream, "") + block
        block = "\n".join(streams.values())
        if block.strip():
            blocks.setdefault(block.replace(row.urn, "URN"), []).append((row, block))
    text = ""
    for same in blocks.values():
        shown = same[:1] if len(same) >= _MANY else same
        text += "".join(f"  {_named(row, len(same) - len(shown))}:\n{block}\n" for row, block in shown)
    return f"Diagnostics:\n{text}" if text else ""


def _named(row: Row, more: int) -> str:
    name = row.urn if row.show_urn else f"{display_type(row.urn)} ({urn_name(row.urn)})"
    return f"{name} and {more} more" if more else name


def _displayable(message: str) -> list[str]:
    lines = message.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def summary_text(summary: Summary, errored: int, *, preview: bool) -> str:
    """Return the counts of the steps and, after an update, its duration in whole seconds."""
    lines = ["Resources:"]
    counted = [(op, summary.changes[op]) for op in _ORDER if summary.changes.get(op)]
    for op, count in counted:
        lines.append(f"    {PREFIX[op]}{count} {'to ' + op if preview else _PAST[op]}")
    pieces = []
    if len(counted) > 1:
        total = sum(count for _, count in counted)
        pieces.append(f"{total} change{'s' if total != 1 else ''}")
    if summary.changes.get(Op.SAME):
        pieces.append(f"{summary.changes[Op.SAME]} unchanged")
    if pieces:
        lines.append("    " + ". ".join(pieces))
    if errored:
        lines.append(f"    {errored} errored")
    if not preview:
        lines += ["", f"Duration: {duration_text(summary.seconds)}"]
    return "\n".join(lines) + "\n"


def duration_text(seconds: float) -> str:
    """Return a duration in Go's form, rounded up to seconds: `5s`, `1m5s`, `1h0m5s`."""
    total = math.ceil(seconds)
    hours, minutes, rest = total // 3600, total // 60 % 60, total % 60
    if hours:
        return f"{hours}h{minutes}m{rest}s"
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
