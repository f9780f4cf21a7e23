"""Every command of README.md and docs/ is typed unchanged, and prints what the page shows.

`make docs-print PAGE=drift` writes the current output of its commands into the page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from taskdb.local.binaries import Binaries
from tests.conftest import PROJECT
from tests.docs.pages import fences, steps
from tests.docs.reader import Beginning, Reader, Shell, new, rewritten

REPRINT = os.environ.get("TASKDB_DOCS") == "print"

ELSEWHERE: Mapping[str, str] = {
    "docs/your-own-program.md": "tests/docs/test_your_own_program.py types it, in a project that `alembic init` made",
    "docs/journey.md": "tests/acceptance/test_journey.py types it, on three servers",
}
"""Pages that another test follows."""

NOT_TYPED: Mapping[str, Mapping[str, str]] = {
    "README.md": {"make test": "it would run this test"},
    "docs/embedded-engine.md": {"pulumi preview": "it needs a Pulumi CLI; tests/stack/engine/test_handover.py has one"},
    "docs/environments.md": {"export PGHOST": "the server of the test is on this machine"},
    "docs/get-started.md": {
        "git clone": "the reader has a copy, and needs no network",
        "make clean": "the copy's virtual environment is that of the tests",
    },
    "docs/security.md": dict.fromkeys(
        ("taskdb check-settings", "echo $?"), "it asks GitHub; tests/unit/taskdb/test_github.py has an answer for it"
    ),
}
"""Commands of a page that no test types, by their beginning, with the reason."""

NEW = ("README.md",)
"""The pages that create the stack. The others begin with one."""

FAST = ("README.md",)
"""The pages that `make test` follows. `make test-all` follows all of them."""

PAGES = sorted(str(path.relative_to(PROJECT)) for path in [PROJECT / "README.md", *(PROJECT / "docs").rglob("*.md")])
TYPED = [page for page in PAGES if page not in ELSEWHERE and steps(PROJECT / page)]
KINDS = {"console", "python", "sql", "yaml", "json", "toml", "mermaid", "markdown", "text"}


@pytest.fixture(scope="module")
def beginning(run_folder: Path, binaries: Binaries) -> Beginning:
    return Beginning.of(run_folder, binaries)


@pytest.fixture
def begin(
    request: pytest.FixtureRequest, page: str, run_folder: Path, binaries: Binaries
) -> Iterator[Callable[[], Reader]]:
    """Yield a function that gives a reader a new copy of the project, and deletes the copy before."""
    open_ = ExitStack()

    def again() -> Reader:
        open_.close()
        begins = new(run_folder, binaries) if page in NEW else request.getfixturevalue("beginning").copy()
        folder, environment = open_.enter_context(begins)
        shell = Shell(folder, environment)
        open_.callback(shell.close)
        return Reader(folder, shell)

    yield again
    open_.close()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", [pytest.param(page, marks=[] if page in FAST else pytest.mark.full) for page in TYPED])
def test_a_page_shows_what_its_commands_print(page: str, begin: Callable[[], Reader]) -> None:
    path = PROJECT / page
    reader = begin()
    printed, differences = reader.printed, []
    for step in steps(path):
        if step.again:
            reader = begin()
            reader.printed = printed
        elif not any(step.command.startswith(command) for command in NOT_TYPED.get(page, {})):
            differences.append(reader.compare(step, reader.follow(step)))
    if REPRINT:
        path.write_text(rewritten(path.read_text(), printed))
        for step, output in printed:
            if step.picture:
                step.picture.write_text(output)
    else:
        assert not any(differences), "\n\n".join(filter(None, differences)) + f"\n\nmake docs-print PAGE={path.stem}"


def test_each_exception_is_a_command_of_its_page() -> None:
    for page, commands in NOT_TYPED.items():
        typed = [step.command for step in steps(PROJECT / page)]
        assert all(any(command.startswith(begins) for command in typed) for begins in commands)
    assert set(ELSEWHERE) | set(NOT_TYPED) | set(FAST) <= set(PAGES)


@pytest.mark.parametrize("page", TYPED)
def test_each_block_has_a_kind(page: str) -> None:
    """A block of output without a kind would be compared with nothing."""
    kinds = {fence.kind for fence in fences((PROJECT / page).read_text().splitlines())}
    assert kinds <= KINDS, kinds - KINDS
