"""No message and no help text contains a word that a plain one has replaced."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.docs.prose import replaced

ALLOWED = (
    # A command, an event of the ledger, and words that the first release wrote into plans.
    *("pulumi-alembic capsule", "put back", "leads back to the same fingerprint"),
    # Words of the Pulumi CLI.
    *("resources may not be read", "may not be replaced", "may not correctly represent"),
)
QUOTED = re.compile(r"`[^`\n]*`")


def found(text: str) -> list[str]:
    """Return the words of the list in a text. Text in backticks is a name."""
    text = QUOTED.sub("", text)
    for allowed in ALLOWED:
        text = text.replace(allowed, "")
    return replaced(text)


def strings(path: Path) -> Iterator[tuple[int, str]]:
    """Return the strings of a module that people can see, of more than one word, and the help of commands."""
    tree = ast.parse(path.read_text())
    silent: set[ast.expr] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            silent.add(node.value)
        if isinstance(node, ast.FunctionDef) and any("command" in ast.unparse(each) for each in node.decorator_list):
            yield node.lineno, ast.get_docstring(node) or ""
        if isinstance(node, ast.JoinedStr):
            silent |= {*node.values}
            yield (
                node.lineno,
                "".join(str(part.value) if isinstance(part, ast.Constant) else "{…}" for part in node.values),
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node not in silent and " " in str(node.value).strip():
            yield node.lineno, str(node.value)


@pytest.mark.parametrize("package", ["taskdb", "pulumi_alembic", "pulumi_embedded"])
def test_no_message_has_a_private_word(package: str) -> None:
    hits = [
        f"{path.relative_to(PROJECT)}:{line}: {word} in {text.strip()!r}"
        for path in sorted((PROJECT / "src" / package).rglob("*.py"))
        for line, text in strings(path)
        for word in found(text)
    ]
    assert hits == []
