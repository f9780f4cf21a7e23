"""The embedded engine refuses by name what only the Pulumi CLI supports, and changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .replay import Workplace, load

HEAD = "import pulumi\nfrom dynp import Store\n"


@pytest.fixture
def here(server: Any, tmp_path: Path) -> Workplace:
    folder = tmp_path / "project"
    folder.mkdir()
    place = Workplace(folder, "target", server, "rf")
    place.write("__main__.py", load("target")["programs"]["program-1.py"])
    assert place.run("pulumi stack init dev").exit_code == 0
    return place


@pytest.mark.parametrize(
    ("command", "flag"),
    [
        ("pulumi up --yes --strict", "--strict"),
        ("pulumi up --yes --policy-pack pack", "--policy-pack"),
        ("pulumi preview --import-file imports.json", "--import-file"),
    ],
)
def test_a_flag_of_the_cli_is_refused_before_anything_is_done(here: Workplace, command: str, flag: str) -> None:
    result = here.run(command)
    assert result.exit_code != 0
    assert flag in result.stderr
    assert "the Pulumi CLI" in result.stderr
    assert (result.stdout, result.calls, here.state()) == ("", [], None)
    assert not (here.folder / "store").exists()


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ('pulumi.Stash("s", input="x")', "pulumi:index:Stash"),
        ('pulumi.runtime.invoke("pulumi:pulumi:readStackResourceOutputs", {})', "readStackResourceOutputs"),
        ('Store("a", key="k", value="v", opts=pulumi.ResourceOptions(replacement_trigger=1))', "a replacement trigger"),
    ],
)
def test_what_a_program_asks_for_is_refused_by_name(here: Workplace, program: str, name: str) -> None:
    here.write("__main__.py", HEAD + program)
    result = here.run("pulumi up --yes --skip-preview")
    assert result.exit_code != 0
    assert f"{name}" in result.stdout
    assert "is not supported by the embedded engine; the Pulumi CLI does it" in result.stdout
    assert not (here.folder / "store").exists()


def test_a_resource_that_needs_an_excluded_new_one_is_refused(here: Workplace) -> None:
    """The Pulumi CLI 3.260 creates the resource, and then cannot save the state."""
    program = (
        'a = Store("a", key="a", value="v")\nStore("b", key="b", value="v", opts=pulumi.ResourceOptions(depends_on=a))'
    )
    here.write("__main__.py", HEAD + program)
    urn = "urn:pulumi:dev::rec::pulumi-python:dynamic:Store::"
    for command in ("preview", "up --yes --skip-preview"):
        result = here.run(f"pulumi {command} --exclude {urn}a")
        assert result.exit_code != 0
        assert f"Resource '{urn}b' depends on '{urn}a' which is excluded and not in the state." in result.stdout
    assert not (here.folder / "store").exists()
