"""Differences are printed as the Pulumi CLI prints them."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_embedded.display.changes import translate
from pulumi_embedded.display.mask import masked
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.rows import Row
from pulumi_embedded.display.summary import diagnostics_text, duration_text
from pulumi_embedded.model.differ import diff_objects
from pulumi_embedded.model.events import Diagnostic, Severity, StepView
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import DiffKind, Op, PropertyDiff
from pulumi_embedded.model.urns import display_type
from pulumi_embedded.model.values import UNKNOWN, ConfigValue, Secret


def _printed(old: dict[str, Any], new: dict[str, Any], **options: Any) -> list[str]:
    diff = diff_objects(old, new)
    assert diff is not None
    return PropertyPrinter(1, **options).object_diff(diff).splitlines()


def test_a_diff_shows_what_changed_with_its_sign_and_the_rest_without() -> None:
    old = {"key": "a", "long": 1, "gone": True, "same": "s", "none": None}
    new = {"key": "b", "long": UNKNOWN, "new": [], "same": "s", "none": None}
    assert _printed(old, new) == [
        "  - gone: true",
        '  ~ key : "a" => "b"',
        "  ~ long: 1 => [unknown]",
        "  + new : []",
        '    same: "s"',
    ]


def test_lists_show_one_line_per_element() -> None:
    assert _printed({"sql": ["a", "b"]}, {"sql": ["a", "c", "d"]}) == [
        "  ~ sql: [",
        '        [0]: "a"',
        '      ~ [1]: "b" => "c"',
        '      + [2]: "d"',
        "    ]",
    ]


@pytest.mark.parametrize(
    ("kind", "line"), [("update", '~ [2]: "c" => "x"'), ("add", '+ [2]: "x"'), ("delete", '- [2]: "c"')]
)
def test_an_element_is_shown_though_the_plugin_says_nothing_of_those_before_it(kind: str, line: str) -> None:
    old, new = ({"privileges": ["a", "b", last]} for last in ("c", "x"))
    states = [ResourceState("urn:pulumi:dev::p::t:t:T::r", "t:t:T", True, inputs=inputs) for inputs in (old, new)]
    detailed = {"privileges[2]": PropertyDiff(DiffKind(kind), input_diff=True)}
    diff = translate(StepView(Op.UPDATE, states[0].urn, *states, detailed_diff=detailed), refresh=False)
    assert diff is not None
    assert PropertyPrinter(1).object_diff(diff).splitlines() == ["  ~ privileges: [", f"      {line}", "    ]"]


def test_a_text_of_several_lines_shows_the_changed_ones() -> None:
    old = "\n".join(str(number) for number in range(10))
    assert _printed({"t": old}, {"t": old.replace("5", "five")}) == [
        "  ~ t: ",
        "        ...",
        "        3",
        "        4",
        "      - 5",
        "      + five",
        "        6",
        "        7",
        "        ...",
    ]


def test_long_texts_are_cut_unless_full_output_is_asked_for() -> None:
    text = "x" * 200
    assert PropertyPrinter(1).value(text) == '"' + "x" * 150 + '..."'
    assert PropertyPrinter(1, truncate=False).value(text) == f'"{text}"'
    assert PropertyPrinter(1).value("a\nb\nc\nd") == '"a\\nb\\nc\\n..."'


def test_two_secrets_never_tell_whether_they_differ() -> None:
    assert diff_objects({"p": Secret("a")}, {"p": Secret("b")}) is None
    assert _printed({"p": "a"}, {"p": Secret("a")}) == ['  ~ p: "a" => [secret]']


def test_secrets_of_the_configuration_are_masked_in_values() -> None:
    mask = masked(
        [ConfigValue(each, each != "open", secrets=(each,) * (each != "open")) for each in ("hunter2", "true", "open")]
    )
    assert PropertyPrinter(1, mask=mask).value("k=hunter2 true open") == '"k=[secret] true open"'


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "1s"), (59.1, "1m0s"), (65, "1m5s"), (3605, "1h0m5s")])
def test_durations_are_rounded_up(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("type_", "shown"),
    [
        ("postgresql:index/role:Role", "postgresql:index:Role"),
        ("pulumi-python:dynamic/alembic:Migrations", "pulumi-python:dynamic/alembic:Migrations"),
        ("rec:index:Group$postgresql:index/role:Role", "postgresql:index:Role"),
        ("pulumi:pulumi:Stack", "pulumi:pulumi:Stack"),
    ],
)
def test_types_are_shown_short(type_: str, shown: str) -> None:
    assert display_type(f"urn:pulumi:dev::p::{type_}::name") == shown


def test_what_many_resources_say_alike_is_printed_once() -> None:
    rows = [Row(f"urn:pulumi:dev::p::t:t:T::{name}", preview=False) for name in ("a", "b", "c", "other")]
    for row in rows[:3]:
        row.messages.append(Diagnostic(row.urn, Severity.ERROR, f"refreshing {row.urn}: connection refused"))
    rows[3].messages.append(Diagnostic(rows[3].urn, Severity.ERROR, "no such role"))
    assert diagnostics_text(rows) == (
        "Diagnostics:\n"
        "  t:t:T (a) and 2 more:\n    error: refreshing urn:pulumi:dev::p::t:t:T::a: connection refused\n\n"
        "  t:t:T (other):\n    error: no such role\n\n"
    )
