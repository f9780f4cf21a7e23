"""make refuses impossible requests before it does anything, and lists its targets."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ALL, PROJECT


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if name not in ("STACK", "PULUMI_STACK")} | environment
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, env=known)


def test_a_stack_without_configuration_is_refused() -> None:
    for verb in ("up", "preview", "down", "ci-up"):
        refused = make(verb, "STACK=prdo", "ENGINE=embedded")
        assert refused.returncode != 0
        assert "There is no Pulumi.prdo.yaml" in refused.stderr
        assert "pulumi-embedded stack init prdo" in refused.stderr


# Each would leave a file if make or a shell executed it.
INJECTIONS = (
    "$(shell touch {})",
    "$(touch {})",
    '"; touch {}; echo "',
    "`touch {}`",
    "'; touch {} #",
    "x\ntouch {}",
    "$$(touch {})",
)
TARGETS = {
    "REVISION": "ci-pin",
    "PR": "pr-up",
    "PULL_REQUEST": "ci-comment",
    "GITHUB_REPOSITORY": "ci-comment",
    "STACK": "up",
    "ROLE": "psql",
    "ENGINE": "up",
    "PULUMI_STACK": "ci-drift",
}


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_is_text_of_a_recipe(name: str, tmp_path: Path) -> None:
    left = tmp_path / "left"
    run = INJECTIONS if ALL else INJECTIONS[:1]
    for text in INJECTIONS:
        value = text.format(left)
        for arguments, environment in (((f"{name}={value}",), {}), ((), {name: value})):
            assert str(left) not in make("--dry-run", TARGETS[name], *arguments, **environment).stdout
            if text in run and (name != "STACK" or arguments):
                done = make(TARGETS[name], *arguments, **{"ENGINE": "embedded", "PULUMI_STACK": "dev", **environment})
                assert done.returncode != 0, done.stdout
            assert not left.exists(), (text, arguments)


def test_a_stack_of_the_environment_is_not_makes() -> None:
    printed = make("--eval=show: ; @echo stack=$$PULUMI_STACK", "show", STACK="prod", PULUMI_STACK="").stdout
    assert printed == "stack=\n"
    assert make("--eval=show: ; @echo stack=$$PULUMI_STACK", "show", "STACK=prod").stdout == "stack=prod\n"


def test_pip_prints_no_notice_of_its_own_releases() -> None:
    """A first `make up` calls pip three times, and each call would print three lines of the notice."""
    printed = make("--eval=show: ; @$(BIN)/pip config debug", "show", PIP_DISABLE_PIP_VERSION_CHECK="").stdout
    assert "PIP_DISABLE_PIP_VERSION_CHECK='1'" in printed


def test_an_unknown_engine_is_refused() -> None:
    refused = make("up", "ENGINE=cli")
    assert refused.returncode != 0
    assert "ENGINE must be auto, pulumi or embedded" in refused.stderr


@pytest.mark.parametrize("engine", ["auto", "embedded", "pulumi"])
def test_the_engine_can_be_named(engine: str) -> None:
    assert f"taskdb run --engine {engine} --create up --yes" in make("--dry-run", "up", f"ENGINE={engine}").stdout


def test_every_target_that_people_use_is_listed() -> None:
    listed = {line.split()[0] for line in make("help").stdout.splitlines()}
    assert {"up", "preview", "down", "rotate", "pr-up", "pr-down", "test", "psql", "clean"} <= listed
