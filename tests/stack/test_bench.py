"""The test bench: only the state passes from one operation to the next, and a test sees everything of an operation."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pulumi
import pulumi.runtime
import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.events import Diagnostic, Event, StepStarted
from pulumi_embedded.testing import Engine, UnexpectedResult
from tests.conftest import PROJECT

pytest_plugins = ["pulumi_embedded.testing"]


def component(name: str) -> pulumi.ComponentResource:
    return pulumi.ComponentResource("test:index:Group", name)


def ambient() -> tuple[object, ...]:
    """Return the values that a process has only once."""
    return (
        pulumi.runtime.settings.get_root_resource(),
        pulumi.get_stack(),
        pulumi.get_project(),
        pulumi.runtime.is_dry_run(),
        dict(pulumi.runtime.config.CONFIG.get()),
        Path.cwd(),
        list(sys.path),
        list(sys.argv),
        dict(os.environ),
        signal.getsignal(signal.SIGINT),
    )


def test_a_run_leaves_nothing_behind_whether_it_failed_or_not(engine: Engine) -> None:
    before = ambient()

    def program() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.path.append("elsewhere")
        component("a")
        assert pulumi.Config().get("wrong") is None, "this is what went wrong"

    engine.program = program
    engine.up()
    assert ambient() == before
    engine.config["wrong"] = "yes"
    engine.up(expect_failure=True)
    assert ambient() == before
    del engine.config["wrong"]
    assert engine.up().changes == {"same": 2}


def test_a_failure_that_is_not_expected_shows_what_the_program_raised(engine: Engine) -> None:
    def program() -> None:
        component("a")
        raise LookupError("there is no such thing")

    engine.program = program
    with pytest.raises(UnexpectedResult, match="there is no such thing") as raised:
        engine.up()
    assert isinstance(raised.value.__cause__, LookupError)
    assert [each.name for each in raised.value.result.resources] == ["project-test", "a"]
    [error] = raised.value.result.errors
    assert error.startswith("Program failed with an unhandled exception:\nTraceback (most recent call last):\n")
    assert error.count("File ") == 1, "only the program's own frames are told"


def test_a_success_that_is_not_expected_is_one_too(engine: Engine) -> None:
    engine.program = lambda: None
    with pytest.raises(UnexpectedResult, match="up was to fail, and did not"):
        engine.up(expect_failure=True)


def test_the_tests_own_objects_are_the_programs(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs in this process and this thread: patches affect it, and its results reach the test."""
    seen = []
    monkeypatch.setattr(sys.modules[__name__], "component", lambda name: seen.append(name))

    async def program() -> None:
        await asyncio.sleep(0)
        component("a")

    engine.program = program
    assert engine.up().changes == {"create": 1}
    assert seen == ["a"]


def test_what_pytest_raises_in_a_program_ends_the_test(engine: Engine) -> None:
    engine.program = lambda: pytest.skip("not here")
    with pytest.raises(pytest.skip.Exception, match="not here"):
        engine.up()


def test_a_preview_changes_nothing_and_tells_what_is_not_known(engine: Engine) -> None:
    def program() -> None:
        pulumi.export("id", component("a").urn.apply(lambda urn: "known" if "a" in urn else ""))
        pulumi.export("secret", pulumi.Output.secret("hidden"))

    engine.program = program
    preview = engine.preview()
    assert preview.changes == {"create": 2}
    assert preview.outputs == {"id": "known", "secret": "hidden"} and preview.secrets == {"secret"}
    assert engine.resources == []
    engine.up()
    assert "hidden" not in engine.state_file.read_text()


def test_a_folder_brings_its_project_and_its_modules_are_imported_anew(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: named\nruntime: python\nconfig: {colour: {default: red}}\n")
    (tmp_path / "__main__.py").write_text(
        "import pulumi, beside\n"
        "pulumi.export('x', [beside.NUMBER, pulumi.Config().get('colour'), pulumi.get_project()])\n"
    )
    engine.program = tmp_path
    for number in (1, 2):
        (tmp_path / "beside.py").write_text(f"NUMBER = {number}\n")
        assert engine.up().outputs["x"] == [number, "red", "named"]
    assert "beside" not in sys.modules
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Pulumi.yaml", "__main__.py", "beside.py"]


def test_a_missing_configuration_value_is_an_error_before_the_operation(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: named\nruntime: python\nconfig: {colour: {type: string}}\n")
    (tmp_path / "__main__.py").touch()
    engine.program = tmp_path
    with pytest.raises(EngineError, match="missing configuration value 'colour'"):
        engine.up()


def test_cancel_is_ctrl_c(engine: Engine) -> None:
    """Running steps are completed, and no other step begins."""

    def program() -> None:
        first = component("a")
        pulumi.ComponentResource("test:index:Group", "b", opts=pulumi.ResourceOptions(parent=first))

    def watch(event: Event) -> None:
        if isinstance(event, StepStarted) and event.step.urn.endswith("::a"):
            engine.cancel()

    engine.watch = watch
    engine.program = program
    cancelled = engine.up(expect_failure=True)
    assert cancelled.cancelled and cancelled.errors == ["update canceled"]
    assert [each.name for each in engine.resources] == ["project-test", "a"]


def test_a_program_refers_to_another_stack_of_its_project(engine: Engine) -> None:
    engine.stack, engine.program = "first", lambda: pulumi.export("x", pulumi.Output.secret(1))
    engine.up()
    engine.stack = "second"
    engine.program = lambda: pulumi.export("x", pulumi.StackReference("organization/project/first").get_output("x"))
    second = engine.up()
    assert second.outputs == {"x": 1} and second.secrets == {"x"}


def test_whoever_watches_hears_every_event_as_it_happens(engine: Engine) -> None:
    heard: list[str] = []

    def program() -> None:
        pulumi.log.info("hello")
        assert "hello" in heard

    engine.watch = lambda event: heard.append(event.message) if isinstance(event, Diagnostic) else None
    engine.program = program
    assert [each.message for each in engine.up().diagnostics] == ["hello"]


def test_the_state_is_a_stacks_own_file(engine: Engine) -> None:
    engine.program = lambda: component("a") and None
    engine.up()
    document = json.loads(engine.state_file.read_text())
    assert document["checkpoint"]["stack"] == "organization/project/test"
    engine.stack = "other"
    assert engine.resources == []
    assert engine.up().changes == {"create": 2}
    engine.stack = "test"
    assert engine.destroy().changes == {"delete": 2}


def test_the_documented_example_is_the_one_that_is_tested() -> None:
    _, code = Path(__file__).with_name("test_bench_example.py").read_text().split('"""\n\n', 1)
    assert f"```python\n{code}```\n" in (PROJECT / "docs" / "testing.md").read_text()
