"""Where `alembic` runs for a stack, it waits as the stack does."""

from pathlib import Path

import pytest

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy
from taskdb import stack
from taskdb.errors import TaskdbError
from taskdb.stack import current_stack, migration_policy


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with the configuration of the stack `prod`."""
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


@pytest.mark.parametrize("name", ["../prod", "a b", "$(id)", "x;y", "a/b/c/d", "::error::", "x\ny"])
def test_what_can_be_no_stack_is_refused(name: str) -> None:
    with pytest.raises(TaskdbError, match="cannot be the name of a stack"):
        current_stack(name)
