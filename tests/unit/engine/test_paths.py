"""Property paths name places in values as in ignore_changes."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.paths import contains, copy_at, get_at, parse_path


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
    assert copy_at(new, old, parse_path(path)) == expected
    assert new == {"a": 2, "l": [{"x": 3}, {"x": 4}]}


def test_ignoring_a_path_that_the_old_value_lacks_removes_it() -> None:
    assert copy_at({"a": 1, "b": 2}, {"a": 1}, parse_path("b")) == {"a": 1}
    assert get_at({"a": [1]}, ("a", 3)) is None
