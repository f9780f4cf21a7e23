"""Mermaid's own parser, in GitHub's version, accepts every diagram that this project shows or generates.

Skipped without Node.js, npm, or a registry.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pulumi_alembic.review.report.diagram import diagram
from pulumi_alembic.sql.tables import ColumnChange, ForeignKey, TableChange, TableState
from tests.conftest import ALL, PROJECT

VERSION = "11.12.0"
"""GitHub's version in November 2025, as its `info` diagram shows."""
INTEGRITY = "sha512-ZudVx73BwrMJfCFmSSJT84y6u5brEoV8DOItdHomNLz32uBjNrelm7mg95X7g+C6UoQH/W6mBLGDEDv73JdxBg=="
PARSE = Path(__file__).with_name("parse.mjs")
EXPECTED = PROJECT / "tests/unit/alembic/report/expected"
REPORT = PROJECT / "tests/acceptance/expected/report.md"

Parse = Callable[[list[str]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def parse(tmp_path_factory: pytest.TempPathFactory) -> Parse:
    """Return a function that parses texts in one process, and returns the parser's answer for each."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("no Node.js with npm on the PATH: no diagram was parsed by Mermaid")
    folder = tmp_path_factory.mktemp("mermaid")
    command = ["npm", "pack", f"mermaid@{VERSION}", "--json", "--prefer-offline"]
    try:
        packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=True)
    except subprocess.SubprocessError:
        pytest.skip(f"npm could not get mermaid {VERSION}: no diagram was parsed by Mermaid")
    [package] = json.loads(packed.stdout)
    assert package["integrity"] == INTEGRITY
    shutil.unpack_archive(folder / package["filename"], folder)
    module = (folder / "package/dist/mermaid.esm.min.mjs").as_uri()

    def run(texts: list[str]) -> list[dict[str, Any]]:
        done = subprocess.run(["node", PARSE, module], input=json.dumps(texts), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, Any]] = json.loads(done.stdout)
        return found

    return run


def blocks(text: str) -> list[str]:
    return re.findall(r"^(?:```+)mermaid\n(.*?)\n```+$", text, re.MULTILINE | re.DOTALL)


def test_every_diagram_is_read(parse: Parse) -> None:
    files = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md"), *EXPECTED.glob("*.md"), REPORT]
    found = [(file.name, text) for file in files for text in blocks(file.read_text(encoding="utf-8"))]
    assert {"report.md", "1-revision.md", "3-revisions.md", "300-revisions.md", "an-error.md"} <= {
        name for name, _ in found
    }
    answers = parse([text for _, text in found])
    assert not [(name, each) for (name, _), each in zip(found, answers, strict=True) if "error" in each]


def test_the_marks_are_those_of_the_tables(parse: Parse) -> None:
    [text] = blocks((EXPECTED / "1-revision.md").read_text(encoding="utf-8"))
    [answer] = parse([text])
    assert [each["marks"] for each in answer["tables"]] == ["default changed", "default"]
    assert [each for each in answer["tables"][0]["columns"] if each[3]] == [["date", "due_on", [], "new"]]


def test_the_parser_refuses_what_is_no_diagram(parse: Parse) -> None:
    assert all("error" in each for each in parse(["erDiagram\n t1 {\n int pk\n }", "erDiagram\n t1 {\n a,b c\n }"]))


HOSTILE = (
    *(
        '"',
        "'",
        "`",
        "```",
        "#",
        "#35;",
        "%%",
        "%%{init: {}}%%",
        "---",
        ";",
        ":",
        ":::new",
        ",",
        "~",
        "~a~",
        "*",
        "**a**",
    ),
    *(
        "pk",
        "PK",
        "fk",
        "uk",
        "Pk-",
        "pké",
        "direction TB",
        "classDef",
        "class",
        "style x:#a;",
        "end",
        "erDiagram",
        "title",
    ),
    *("_", "__", "_a_", "__a__", "a_", "_id", "x-", "x--22-", "-22-", "-", "(", ")", "[", "]", "{", "}", "<b>", "&lt;"),
    *(
        "\n",
        "\r\n",
        "\t",
        " ",
        "\u202f",
        "\u201a",
        "\u202e",
        "\u2028",
        "\x00",
        "\ud800",
        "é",
        "任務",
        "😀",
        "ﬂ°°35¶ß",
        "ª",
    ),
    *(
        "1",
        "10",
        "a",
        "b",
        "numeric(10,2)",
        "text[]",
        "timestamp with time zone",
        "|o--",
        "}o--|| t1",
        "accTitle: a",
        "\\",
    ),
)
NAMES = st.one_of(
    st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4).map("".join), st.text(min_size=1, max_size=8)
)
COLUMNS = st.lists(
    st.builds(ColumnChange, NAMES, NAMES, st.booleans(), st.sampled_from(["", "PK", "PK,FK", "UK", "x y"])), max_size=6
)
STATES = st.builds(
    TableState,
    COLUMNS.map(tuple),
    st.lists(st.builds(ForeignKey, NAMES, st.lists(NAMES, max_size=2).map(tuple)), max_size=2).map(tuple),
)
TABLES = st.lists(st.builds(TableChange, NAMES, st.none() | STATES, STATES), min_size=1, max_size=4)


EXAMPLES = 8 if ALL else 2
QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


@settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=QUIET)
@given(st.lists(TABLES, min_size=8, max_size=16))
def test_tables_of_any_names_are_read(parse: Parse, drawn: list[list[TableChange]]) -> None:
    texts = [diagram(tables)[0] for tables in drawn]
    assert not [(text, answer) for text, answer in zip(texts, parse(texts), strict=True) if "error" in answer]


def named(name: str) -> TableChange:
    """Return a table in which everything has this name, and a column that had it."""
    renamed = ColumnChange("renamed", was=name)
    after = TableState((ColumnChange(name, name), renamed), (ForeignKey(name, (name,)),))
    return TableChange(name, TableState((ColumnChange(name),)), after)


@settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=QUIET)
@given(st.lists(NAMES, unique=True, min_size=50, max_size=100))
def test_no_two_names_become_one(parse: Parse, names: list[str]) -> None:
    every = sorted({*names, *HOSTILE})
    answers = parse([diagram([named(name)])[0] for name in every])
    assert all(len(each["tables"]) == 1 and len(each["tables"][0]["columns"]) == 2 for each in answers)
    tables = [each["tables"][0] for each in answers]
    for read in (
        [each["alias"] for each in tables],
        [each["columns"][0][0] for each in tables],
        [each["columns"][0][1] for each in tables],
        [each["columns"][1][3] for each in tables],
        [each["keys"][0] for each in answers],
    ):
        assert len(set(read)) == len(every)
