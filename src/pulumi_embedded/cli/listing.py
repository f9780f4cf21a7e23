"""The output of `stack`, as text or as JSON."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from rich.cells import cell_len

from pulumi_embedded.model.gojson import compact
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import STACK_TYPE, urn_name
from pulumi_embedded.model.values import Properties, plain
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION, Snapshot
from pulumi_embedded.storage.session import Stack

__all__ = [
    "Details",
    "aligned",
    "described",
    "document",
    "moment_ago",
    "outputs_table",
    "shell_outputs",
    "stack_outputs",
    "value_text",
]

_UNITS: Final = (
    (31104000, "year"),
    (2592000, "month"),
    (604800, "week"),
    (86400, "day"),
    (3600, "hour"),
    (60, "minute"),
    (1, "second"),
)


def aligned(table: Sequence[tuple[str, ...]], margin: str = "") -> str:
    """Return rows as columns with two spaces between them. A cell can have several lines."""
    split = [[cell.split("\n") for cell in row] for row in table]
    widths = [max(cell_len(line) for row in split for line in row[column]) for column in range(len(table[0]))]
    return "\n".join(margin + line for row in split for line in _row_lines(row, widths))


def _row_lines(row: Sequence[list[str]], widths: Sequence[int]) -> list[str]:
    lines = []
    for number in range(max(map(len, row))):
        cells = [cell[number] if number < len(cell) else "" for cell in row]
        padded = [cell + " " * (width - cell_len(cell)) for cell, width in zip(cells[:-1], widths, strict=False)]
        lines.append("  ".join([*padded, cells[-1]]))
    return lines


def moment_ago(moment: str) -> str:
    """Return how long ago a time was, in its largest unit."""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment[:19] + "+00:00")).total_seconds())
    for size, unit in _UNITS:
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "now"


@dataclass(frozen=True)
class Details:
    """The details that `stack` shows beside types and names."""

    ids: bool = False
    urns: bool = False
    secrets: bool = False

    def of(self, state: ResourceState, margin: str) -> str:
        """Return the lines below a resource."""
        text = f"\n{margin}URN: {state.urn}" if self.urns else ""
        return text + (f"\n{margin}ID: {state.id}" if self.ids and state.id else "")


def described(opened: Stack, details: Details) -> str:
    """Return the stack's resources as a tree, followed by its outputs."""
    snapshot = opened.snapshot(opened.codec())
    lines = [f"Current stack is {opened.name}:", f"    Managed by {socket.gethostname()}"]
    if snapshot.time:
        lines += [f"    Last updated: {moment_ago(snapshot.time)} ({_local(snapshot.time)})"]
        lines += [f"    Pulumi version used: {ENGINE_VERSION}"]
    lines.append(f"Current stack resources ({len(snapshot.resources)}):")
    if snapshot.resources:
        lines += [*_tree(snapshot.resources, details), "", outputs_table(_shown(snapshot, details.secrets))]
    else:
        lines.append("    No resources currently in this stack")
    lines += ["", "Use `pulumi-embedded stack select` to change stack; `pulumi-embedded stack ls` lists known ones"]
    return "\n".join(lines)


def _local(moment: str) -> str:
    """Return the time as Go prints it."""
    seconds, fraction = re.fullmatch(r"([^.Z+]+)(\.\d+)?.*", moment).groups("")  # type: ignore[union-attr]
    local = datetime.fromisoformat(seconds + "+00:00").astimezone()
    zone = local.strftime("%z %Z")
    return f"{local:%Y-%m-%d %H:%M:%S}{fraction.rstrip('0').rstrip('.')} {zone}"


def _tree(resources: list[ResourceState], details: Details) -> list[str]:
    trunk = next((resource for resource in resources if resource.type == STACK_TYPE and not resource.parent), None)
    rows: list[tuple[str, str]] = [("TYPE", "NAME")]
    below: list[str] = [""]
    if trunk is None:
        rows += [(resource.type, urn_name(resource.urn)) for resource in resources]
        below += [details.of(resource, "        ") for resource in resources]
    else:
        orphans = [resource for resource in resources if not resource.parent and resource is not trunk]
        for row, text in _branches(resources, trunk, orphans, ("", ""), details):
            rows.append(row)
            below.append(text)
    return [line + text for line, text in zip(aligned(rows, "    ").split("\n"), below, strict=True)]


def _branches(
    resources: list[ResourceState],
    state: ResourceState,
    more: list[ResourceState],
    margins: tuple[str, str],
    details: Details,
) -> list[tuple[tuple[str, str], str]]:
    """Return the rows of a resource and its descendants. `margins` are those of its own line and of the lines below."""
    own, inner = margins
    children = [resource for resource in resources if resource.parent == state.urn] + more
    extra = details.of(state, "    " + inner + ("│  " if children else "   "))
    rows = [((own + state.type, urn_name(state.urn)), extra)]
    for number, child in enumerate(children):
        last = number == len(children) - 1
        margins = (inner + ("└─ " if last else "├─ "), inner + ("   " if last else "│  "))
        rows += _branches(resources, child, [], margins, details)
    return rows


def document(opened: Stack, details: Details) -> dict[str, Any]:
    """Return the stack as JSON values."""
    snapshot = opened.snapshot(opened.codec())
    return {
        "project": opened.project,
        "stack": opened.name,
        "backend": socket.gethostname(),
        "tags": {},
        "manifest": {"time": snapshot.time, "pulumiVersion": ENGINE_VERSION},
        "resources": [_resource(resource) for resource in snapshot.resources],
        "outputs": _shown(snapshot, details.secrets),
    }


def _resource(state: ResourceState) -> dict[str, str]:
    shown = {"urn": state.urn, "type": state.type, "name": urn_name(state.urn), "id": state.id, "parent": state.parent}
    return {key: value for key, value in shown.items() if value}


def _shown(snapshot: Snapshot, show_secrets: bool) -> dict[str, Any]:
    outputs = next((resource.outputs for resource in snapshot.resources if resource.type == STACK_TYPE), {})
    return {key: plain(outputs[key], show_secrets=show_secrets) for key in sorted(outputs)}


def stack_outputs(opened: Stack, *, show_secrets: bool) -> dict[str, Any]:
    """Return the outputs in the stack's state, as JSON values by name."""
    return _shown(opened.snapshot(opened.codec()), show_secrets)


def value_text(value: Any) -> str:
    """Return a text unchanged, and any other value as JSON on one line."""
    return value if isinstance(value, str) else compact(value, html=False)


def outputs_table(outputs: Properties) -> str:
    """Return the outputs as a table."""
    if not outputs:
        return "Current stack outputs (0):\n    No output values currently in this stack"
    rows = [("OUTPUT", "VALUE"), *((key, value_text(value)) for key, value in outputs.items())]
    return f"Current stack outputs ({len(outputs)}):\n{aligned(rows, '    ')}"


def shell_outputs(outputs: Properties) -> str:
    """Return the outputs as assignments of a shell script."""
    return "\n".join(f"{key}={_shell_word(value_text(value))}" for key, value in outputs.items())


def _shell_word(text: str) -> str:
    """Return the text as one word of a shell, with backslashes or, if it has spaces, in quotes (Pulumi CLI 3.260)."""
    if not text:
        return "''"
    if re.search(r"[ \t\n]", text):
        return "\\'".join(f"'{part}'" if part else "" for part in text.split("'"))
    return re.sub(r"""[\\'"`${[|&;<>()*?!]|^~""", r"\\\g<0>", text)
