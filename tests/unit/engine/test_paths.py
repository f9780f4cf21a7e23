"""Property paths name places in values, as in ignore_changes."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.paths import contains, get_at, parse_path, reset_at
from pulumi_embedded.model.values import Secret


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("a.b[0].c", ("a", "b", 0, "c")),
        ('a["b.c"].d', ("a", "b.c", "d")),
        ('["x\\"y"]', ('x"y',)),
        ("a[*].b", ("a", "*", "b")),
    ],
)
def test_a_path_is_its_elements(text: str, path: tuple[Any, ...]) -> None:
    assert parse_path(text) == path


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(EngineError, match="not a property path"):
        parse_path("a[")


def test_a_place_contains_what_is_inside_it() -> None:
    assert contains(("a",), ("a", "b", 0)) and contains(("a", "*"), ("a", 3))
    assert not contains(("a", "b"), ("a",)) and not contains(("a", "b"), ("a", "c"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a", {"a": 1, "l": [{"x": 3}, {"x": 4}]}),
        ("gone", {"a": 2, "l": [{"x": 3}, {"x": 4}], "gone": 5}),
        ("l[0].x", {"a": 2, "l": [{"x": 8}, {"x": 4}]}),
        ("l[*].x", {"a": 2, "l": [{"x": 8}, {"x": 9}]}),
    ],
)
def test_ignoring_a_path_takes_the_old_value_there(path: str, expected: dict[str, Any]) -> None:
    new = {"a": 2, "l": [{"x": 3}, {"x": 4}]}
    old = {"a": 1, "l": [{"x": 8}, {"x": 9}], "gone": 5}
    assert reset_at(new, old, parse_path(path)) == (expected, True)
    assert new == {"a": 2, "l": [{"x": 3}, {"x": 4}]}


def test_ignoring_a_path_that_the_old_value_lacks_removes_it() -> None:
    assert reset_at({"a": 1, "b": 2}, {"a": 1}, parse_path("b")) == ({"a": 1}, True)
    assert get_at({"a": [1]}, ("a", 3)) is None


@pytest.mark.parametrize(
    ("new", "old", "path", "expected"),
    [
        ({"l": [1, 2]}, {"l": [1]}, "l[1]", ({"l": [1, 2]}, False)),
        ({"l": [1]}, {"l": [1]}, "l[4]", ({"l": [1]}, True)),
        ({"l": [1, 2]}, {"l": [5]}, "l[*]", ({"l": [5, 2]}, False)),
        ({"o": {"x": 1}}, {}, "o.x", ({"o": {}}, True)),
        ({}, {"o": {"x": 1}}, "o.x", ({}, False)),
        ({"o": 3}, {"o": {"x": 1}}, "o.x", ({"o": 3}, False)),
        ({"o": {"x": 2, "y": 3}}, {"o": {"x": 1}}, "o.*", ({"o": {"x": 1}}, True)),
    ],
)
def test_a_path_that_cannot_be_reset_says_so(
    new: dict[str, Any], old: dict[str, Any], path: str, expected: tuple[dict[str, Any], bool]
) -> None:
    assert reset_at(new, old, parse_path(path)) == expected


def test_a_value_that_was_within_a_secret_is_secret_in_its_new_place() -> None:
    old = {"o": Secret({"x": 1})}
    found, done = reset_at({"o": {"x": 2}}, old, parse_path("o.x"))
    assert done and isinstance(found["o"]["x"], Secret) and found["o"]["x"].value == 1
