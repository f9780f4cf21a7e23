"""Only modules that docs/architecture.md lists use the internals of a library or of the interpreter."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[2]
SECTION = "## Modules that use internals"
CALLS = {"setprofile", "settrace", "addaudithook", "_exit", "_getframe", "PyThreadState_SetAsyncExc"}


def used(text: str) -> Iterator[str]:
    """Return the internals that a module uses: private names that it does not define itself, and CALLS."""
    own = set(re.findall(r"(?:def |self\.|\n    )(_[a-z]\w*)\b", text)) | {"_replace", "_fields"}
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names = (node.module or "").split(".")
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            names = [each.value for each in node.args[1:2] if isinstance(each, ast.Constant)]
        for name in names:
            if name in CALLS or (re.match(r"_[a-z]", name) and name not in own):
                yield name


def test_all_that_use_internals_are_listed() -> None:
    found = {
        str(path.relative_to(PROJECT / "src")): names
        for path in (PROJECT / "src").rglob("*.py")
        if (names := set(used(path.read_text())))
    }
    assert len(found) > 10
    listed = {row.split("`")[1] for row in rows()}
    assert not found.keys() - listed, {path: names for path, names in found.items() if path not in listed}
    assert all((PROJECT / "src" / path).is_file() for path in listed)


def rows() -> list[str]:
    section = (PROJECT / "docs/architecture.md").read_text().partition(SECTION)[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def test_every_module_that_uses_internals_names_a_test() -> None:
    for row in rows():
        tests = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert tests and all((PROJECT / test).is_file() for test in tests), row
