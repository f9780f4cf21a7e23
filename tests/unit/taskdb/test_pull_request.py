"""The stack of a pull request is pr-N. No other stack can be named."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from taskdb.cli import main
from taskdb.engine import Engine
from taskdb.pull_request import PullRequest


@pytest.mark.parametrize("text", ["123", "pr-123"])
def test_a_number_is_the_stack_of_that_pull_request(text: str) -> None:
    assert PullRequest.parse(text, Engine("pulumi"), Path()).stack == "pr-123"


@pytest.mark.parametrize("verb", ["up", "down"])
@pytest.mark.parametrize("name", ["prod", "staging", "pr-", "pr-0", "0", "012", "12a", "pr-1 2", "-1", "1\n", "", "٣"])
def test_the_name_of_another_stack_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, verb: str, name: str
) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Engine, "run", lambda *_, **__: pytest.fail("the engine was asked"))
    monkeypatch.setattr(Engine, "show", lambda *_, **__: pytest.fail("the engine was run"))
    refused = CliRunner().invoke(main, ["pull-request", verb, "--", name])
    assert refused.exit_code == 1
    assert f"{name!r} is not the number of a pull request, such as 123" in refused.output


def test_an_engine_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = CliRunner().invoke(main, ["pull-request", "down", "1", "--engine", "pulumi"])
    assert "there is no pulumi on the PATH" in refused.output and "--engine embedded" in refused.output
