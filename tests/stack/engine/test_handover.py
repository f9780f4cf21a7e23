"""Either engine goes on where the other stopped: the other one sees no change, and reads the other's secrets.

Where no Pulumi CLI is on the PATH there is nothing to hand over to, and these tests are skipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import NO_CLI

from .replay import Result, Workplace, load

pytestmark = pytest.mark.skipif(shutil.which("pulumi") is None, reason=NO_CLI)

GATE = "pulumi preview --refresh --expect-no-changes"
SCENARIOS = [
    "create",
    "component",
    "secret-config",
    "explicit-provider",
    "provider-config-unknown",
    "ignore-changes",
    "deleted-with",
    "protect",
]


def _ok(result: Result) -> Result:
    assert result.exit_code == 0, result.stdout + result.stderr
    return result


def _place(scenario: str, server: Any, folder: Path, mark: str) -> Workplace:
    folder.mkdir()
    place = Workplace(folder, scenario, server, mark)
    place.write("__main__.py", load(scenario)["programs"]["program-1.py"])
    return place


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=SCENARIOS)
def test_a_stack_of_the_embedded_engine_goes_on_with_the_cli(number: int, server: Any, tmp_path: Path) -> None:
    here = _place(SCENARIOS[number], server, tmp_path / "project", f"w{'abcdefghijklm'[number]}")
    _ok(here.run("pulumi stack init dev"))
    _ok(here.run("pulumi up --yes --skip-preview"))
    _ok(here.run_cli(GATE))
    assert "unchanged" in _ok(here.run_cli("pulumi up --yes --skip-preview")).stdout
    _ok(here.run(GATE))
    _unprotect(here)
    _ok(here.run_cli("pulumi destroy --yes --skip-preview"))
    assert _ok(here.run("pulumi stack export")).stdout.count('"urn"') == 0


@pytest.mark.parametrize("number", range(len(SCENARIOS)), ids=SCENARIOS)
def test_a_stack_of_the_cli_goes_on_with_the_embedded_engine(number: int, server: Any, tmp_path: Path) -> None:
    here = _place(SCENARIOS[number], server, tmp_path / "project", f"w{'nopqrstuvwxyz'[number]}")
    _ok(here.run_cli("pulumi stack init dev"))
    _ok(here.run_cli("pulumi up --yes --skip-preview"))
    _ok(here.run(GATE))
    assert "unchanged" in _ok(here.run("pulumi up --yes --skip-preview")).stdout
    _ok(here.run_cli(GATE))
    _unprotect(here)
    _ok(here.run("pulumi destroy --yes --skip-preview"))
    assert '"urn"' not in _ok(here.run_cli("pulumi stack export")).stdout


def _unprotect(here: Workplace) -> None:
    program = here.folder / "__main__.py"
    if "protect=True" in program.read_text():
        program.write_text(program.read_text().replace("protect=True", "protect=False"))
        _ok(here.run("pulumi up --yes --skip-preview"))


def test_a_secret_set_by_one_engine_is_read_by_the_other(server: Any, tmp_path: Path) -> None:
    here = _place("secret-config", server, tmp_path / "project", "wz")
    _ok(here.run("pulumi stack init dev"))
    _ok(here.run("pulumi config set --secret mine of-the-engine"))
    _ok(here.run_cli("pulumi config set --secret theirs of-the-cli"))
    assert _ok(here.run_cli("pulumi config get mine")).stdout.strip() == "of-the-engine"
    assert _ok(here.run("pulumi config get theirs")).stdout.strip() == "of-the-cli"
