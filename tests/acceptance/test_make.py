"""make refuses what it cannot do before it does anything, and lists what it can."""

import subprocess

import pytest

from tests.conftest import PROJECT


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=PROJECT, capture_output=True, text=True)


def test_a_stack_without_configuration_is_refused_with_the_command_that_makes_it() -> None:
    refused = make("Pulumi.prdo.yaml", "ENGINE=embedded")
    assert refused.returncode != 0
    assert "There is no Pulumi.prdo.yaml" in refused.stderr
    assert "pulumi-embedded stack init prdo" in refused.stderr


def test_an_unknown_engine_is_refused() -> None:
    refused = make("up", "ENGINE=cli")
    assert refused.returncode != 0
    assert "ENGINE is 'cli': it is auto, pulumi or embedded" in refused.stderr


@pytest.mark.parametrize(("engine", "command"), [("embedded", ".venv/bin/pulumi-embedded up"), ("pulumi", "pulumi up")])
def test_the_engine_can_be_named(engine: str, command: str) -> None:
    assert f"{command} --stack dev --yes" in make("--dry-run", "up", f"ENGINE={engine}").stdout


def test_every_target_that_people_use_is_listed() -> None:
    listed = {line.split()[0] for line in make("help").stdout.splitlines()}
    assert {"up", "preview", "down", "rotate", "pr-up", "pr-down", "test", "psql", "clean"} <= listed
