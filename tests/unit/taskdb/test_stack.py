"""If `alembic` runs for a stack, it uses the stack's waiting times."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy
from taskdb import stack
from taskdb.cli import main
from taskdb.engine import Engine
from taskdb.errors import TaskdbError
from taskdb.stack import current_stack, migration_policy


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a folder with the configuration of the stack `prod`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("PULUMI_STACK", "prod")
    (tmp_path / "Pulumi.prod.yaml").write_text("config:\n  taskdb:revision: head\n  taskdb:lock_timeout: 50ms\n")
    return tmp_path


def test_the_current_stacks_settings_are_read() -> None:
    assert migration_policy() == Policy(lock_timeout=0.05)


def test_a_database_of_no_stack_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/other")
    assert migration_policy() == Policy()


@pytest.mark.parametrize("text", ["", "config:\n", "encryptionsalt: x\n"])
def test_a_stack_that_sets_nothing_has_the_defaults(project: Path, text: str) -> None:
    (project / "Pulumi.prod.yaml").write_text(text)
    assert migration_policy() == Policy()


def test_a_setting_that_makes_no_sense_is_named(project: Path) -> None:
    (project / "Pulumi.prod.yaml").write_text("config:\n  taskdb:lock_deadline: -1s\n")
    with pytest.raises(PolicyError, match=r"taskdb:lock_deadline must be a number with its unit .*, not '-1s'"):
        migration_policy()


def test_one_rule_says_which_stack_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    selected = "chosen"
    monkeypatch.setattr(stack, "_selected", lambda folder: selected)
    monkeypatch.setenv("STACK", "never")
    assert current_stack("named") == "named"
    assert current_stack() == "prod"
    monkeypatch.setenv("PULUMI_STACK", "")
    assert current_stack() == "chosen"
    selected = ""
    assert current_stack() == "dev"


def answer(monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Make the engine fail with this error."""
    failed = subprocess.CompletedProcess([], 1, "", f"error: {error}\n")
    monkeypatch.setattr(Engine, "find", lambda: Engine("pulumi-embedded"))
    monkeypatch.setattr(Engine, "run", lambda *arguments, **options: failed)


def test_a_stack_without_the_output_is_to_be_brought_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "current stack does not have output property 'app_url'")
    with pytest.raises(TaskdbError, match=r"^the stack prod has no output app_url\. Bring it up: make up STACK=prod$"):
        stack.output("app_url", "prod")


def test_the_engines_reason_is_not_taken_for_a_missing_output(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, "incorrect passphrase")
    with pytest.raises(TaskdbError, match=r"^cannot read the outputs of the stack prod: incorrect passphrase$"):
        stack.output("app_url", "prod")


@pytest.mark.parametrize("revision", ["hed", "20250126_03", "20250126002", "-1"])
def test_a_stack_is_pinned_to_head_or_an_id(monkeypatch: pytest.MonkeyPatch, revision: str) -> None:
    answer(monkeypatch, "never asked")
    done = CliRunner().invoke(main, ["pin", "--", revision])
    assert done.exit_code == 1
    assert f"REVISION must be head or a revision id such as 20250126_003, not '{revision}'" in done.output


@pytest.mark.parametrize("name", ["../prod", "a b", "$(id)", "x;y", "a/b/c/d", "::error::", "x\ny"])
def test_what_can_be_no_stack_is_refused(name: str) -> None:
    with pytest.raises(TaskdbError, match="cannot be the name of a stack"):
        current_stack(name)
