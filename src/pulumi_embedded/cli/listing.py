"""What `stack` shows of a stack, as text."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pulumi_embedded.state import ResourceState
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION
from pulumi_embedded.storage.session import Stack
from pulumi_embedded.urns import STACK_TYPE, urn_name
from pulumi_embedded.values import Properties, plain

__all__ = ["aligned", "described", "moment_ago", "outputs_table", "stack_outputs", "value_text"]


def aligned(table: Sequence[tuple[str, ...]]) -> str:
    """Rows as columns of equal width, two spaces between them."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
    )


def moment_ago(moment: str) -> str:
    """How long ago a time was, in its largest unit."""
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment[:19] + "+00:00")).total_seconds())
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "now"


def described(opened: Stack) -> str:
    """The stack's resources as a tree, and its outputs."""
    snapshot = opened.snapshot(opened.codec())
    lines = [f"Current stack is {opened.name}:", f"    Managed by {socket.gethostname()}"]
    if snapshot.time:
        lines += [f"    Last updated: {moment_ago(snapshot.time)}", f"    Pulumi version used: {ENGINE_VERSION}"]
    lines.append(f"Current stack resources ({len(snapshot.resources)}):")
    rows: list[tuple[str, ...]] = [("    TYPE", "NAME")]
    roots = [each for each in snapshot.resources if not each.parent]
    trunk = [each for each in roots if each.type == STACK_TYPE]
    for root in trunk or roots:
        rows.append((f"    {root.type}", urn_name(root.urn)))
        others = [each for each in roots if each is not root and root in trunk]
        rows += _branches(snapshot.resources, root, others, "    ")
    lines += [aligned(rows), "", outputs_table({key: plain(value) for key, value in stack_outputs(opened).items()}), ""]
    lines.append("Use `pulumi-embedded stack select` to change stack; `pulumi-embedded stack ls` lists known ones")
    return "\n".join(lines)


def _branches(
    resources: list[ResourceState], parent: ResourceState, more: list[ResourceState], margin: str
) -> list[tuple[str, ...]]:
    children = [each for each in resources if each.parent == parent.urn] + more
    rows: list[tuple[str, ...]] = []
    for number, child in enumerate(children):
        last = number == len(children) - 1
        rows.append((f"{margin}{'└─' if last else '├─'} {child.type}", urn_name(child.urn)))
        rows += _branches(resources, child, [], margin + ("   " if last else "│  "))
    return rows


def stack_outputs(opened: Stack) -> Properties:
    """The outputs in the stack's state."""
    for state in opened.snapshot(opened.codec()).resources:
        if state.type == STACK_TYPE:
            return state.outputs
    return {}


def value_text(value: Any) -> str:
    """A value as one line: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def outputs_table(outputs: Properties) -> str:
    """The outputs as a table."""
    if not outputs:
        return "Current stack outputs (0):\n    No output values currently in this stack"
    rows = [("    OUTPUT", "VALUE"), *((f"    {key}", value_text(value)) for key, value in outputs.items())]
    return f"Current stack outputs ({len(outputs)}):\n{aligned(rows)}"
