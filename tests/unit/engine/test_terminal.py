"""The live table of a terminal: one line per resource, cut to the terminal's width, below its parent."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.text import Text

from pulumi_embedded.cli.prompt import _Menu
from pulumi_embedded.display.columns import fitted
from pulumi_embedded.display.rows import Row
from pulumi_embedded.display.text import Decoded, decoded, number, quoted
from pulumi_embedded.display.tree import tree
from pulumi_embedded.model.events import StepView
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op

ROWS = [
    ["", "Type", "Name", "Status", "Info"],
    ["+ ", "pulumi-python:dynamic/module:Resource", "a-rather-long-name", "creating (12s)", "a message " * 9],
    ["~ ", "└─ t:m:T", "漢字漢字漢字漢字漢字漢字", "updated (0.11s)", ""],
]


@pytest.mark.parametrize("width", [200, 80, 40, 20, 5])
def test_lines_are_never_wider_than_the_terminal(width: int) -> None:
    lines = fitted([[Text(cell) for cell in row] for row in ROWS], width)
    assert all(cell_len(line.plain) <= width for line in lines)


def test_a_narrow_terminal_still_shows_signs_and_states() -> None:
    lines = fitted([[Text(cell) for cell in row] for row in ROWS], 60)
    assert lines[1].plain.startswith("+ ") and "creating (12s)" in lines[1].plain
    assert "updated (0.11s)" in lines[2].plain


def _row(name: str, parent: str, order: int, *, shown: bool = True) -> Row:
    state = ResourceState(urn=name, type="t:m:T", custom=True, parent=parent)
    return Row(name, preview=False, view=StepView(Op.CREATE, name, None, state), shown=shown, order=order)


def test_resources_are_shown_below_unchanged_parents() -> None:
    rows = [
        _row("stack", "", 0),
        _row("late", "stack", 3),
        _row("group", "stack", 1, shown=False),
        _row("child", "group", 2),
        _row("unseen", "stack", 4, shown=False),
        _row("orphan", "elsewhere", 5),
    ]
    assert [branch.indent + branch.row.urn for branch in tree(rows, "stack")] == [
        "stack",
        "├─ group",
        "│  └─ child",
        "├─ late",
        "└─ orphan",
    ]


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [
        (["\r"], "no"),
        (["\x1b[B", "\r"], "details"),
        (["\x1b[A", "\n"], "yes"),
        (["\x1b[B", "\x1b[B", "\r"], "yes"),
        (["y", "e", "\r"], "yes"),
        (["d", "\x7f", "y", "\r"], "yes"),
        (["y", "\x04"], "no"),
        (["x", "\r"], None),
    ],
)
def test_an_answer_is_chosen_with_arrows_or_by_typing(keys: list[str], chosen: str | None) -> None:
    menu = _Menu("Sure?", ["yes", "no", "details"], "no")
    for key in keys:
        menu.take(key)
    assert menu.chosen == chosen


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.5, "1.5"),
        (0.1234567, "0.1234567"),
        (1234567.5, "1.2345675e+06"),
        (0.00001, "1e-05"),
        (-0.25, "-0.25"),
        (1e25, "10000000000000000905969664"),
    ],
)
def test_numbers_are_printed_as_go_prints_them(value: float, text: str) -> None:
    """The texts are from `pulumi preview --diff`, CLI 3.260."""
    assert number(value) == text


def test_texts_are_quoted_as_go_quotes_them() -> None:
    assert quoted('a"\\\n\t\a\x00é漢\u00a0\U000e0001') == r'"a\"\\\n\t\a\x00é漢\u00a0\U000e0001"'


def test_objects_in_texts_are_found_yaml_only_in_several_lines() -> None:
    assert decoded(' {"a": 1} ') == Decoded({"a": 1}, "json")
    assert decoded("a: 1\nb: yes") == Decoded({"a": 1, "b": "yes"}, "yaml")
    assert decoded("a: 1") is None and decoded("just\ntext") is None and decoded("a: [\nb") is None
