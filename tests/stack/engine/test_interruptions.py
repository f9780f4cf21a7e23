"""After every early end of an operation, the state file parses and is true, and the next `up` continues."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .replay import Workplace, load, plain_lines, shortened
from .test_recordings import compare

HELD = "import pulumi\nfrom dynp import Store\nStore('a', key='k', value='1')\n"


@pytest.fixture
def place(tmp_path: Path, server: Any) -> Callable[[str, str], Workplace]:
    def make(scenario: str, mark: str) -> Workplace:
        folder = tmp_path / "project"
        folder.mkdir()
        made = Workplace(folder, scenario, server, mark)
        assert made.run("pulumi stack init dev").exit_code == 0
        return made

    return make


def _until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _children(pid: int) -> list[int]:
    return [
        int(line.split()[0])
        for line in subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.splitlines()[1:]
        if int(line.split()[1]) == pid
    ]


def _until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and "State:\tZ" not in Path(f"/proc/{pid}/status").read_text():
        assert time.monotonic() < deadline, f"process {pid} outlived the engine"
        time.sleep(0.02)


def _is_creating(place: Workplace, name: str = "Store::a") -> bool:
    return name in json.dumps((place.state() or {}).get("pending_operations"))


def _hold(place: Workplace, what: str) -> Path:
    (place.folder / "store").mkdir(exist_ok=True)
    held = place.folder / "store" / f"slow-{what}"
    held.touch()
    return held


def _interrupted(place: Workplace, recording: dict[str, Any], step: dict[str, Any]) -> subprocess.Popen[str]:
    """Start a process, and return it during the create of a dynamic resource."""
    place.write("__main__.py", recording["programs"][step["program"]])
    _hold(place, "create")
    process = place.start(step["command"])
    _until(lambda: _is_creating(place), process)
    return process


def test_ctrl_c_finishes_the_running_step_and_starts_no_other(place: Any) -> None:
    here = place("interrupted", "ya")
    recording = load("interrupted")
    first, second = recording["steps"]
    process = _interrupted(here, recording, first)
    os.kill(process.pid, signal.SIGINT)
    (here.folder / "store" / "slow-create").unlink()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == first["exit_code"]
    printed = (here.to_recorded(out).split("\n"), first["stdout"])
    mine, theirs = (sorted(shortened(plain_lines(lines), first["command"])) for lines in printed)
    assert mine == theirs
    compare(here, here.run(second["command"]), second, second["state"])


def test_ctrl_c_twice_ends_at_once_and_leaves_the_step_pending(place: Any) -> None:
    here = place("interrupted", "yb")
    recording = load("interrupted")
    process = _interrupted(here, recording, recording["steps"][0])
    os.kill(process.pid, signal.SIGINT)
    assert process.stdout is not None
    while "^C received" not in process.stdout.readline():
        pass
    os.kill(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 8
    assert [each["type"] for each in here.state()["pending_operations"]] == ["creating"]
    assert not list((here.folder / ".state/.pulumi/locks").rglob("*.json"))


@pytest.mark.full
def test_a_killed_engine_leaves_what_the_killed_cli_leaves(place: Any) -> None:
    """Neither plugin nor program survives the engine. The next `up` warns of pending operations, and continues."""
    here = place("killed", "yc")
    recording = load("killed")
    first, second = recording["steps"]
    process = _interrupted(here, recording, first)
    children = _children(process.pid)
    assert len(children) >= 3
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for child in children:
        _until_gone(child)
    (here.folder / "store" / "slow-create").unlink()
    assert here.state()["pending_operations"][0]["type"] == "creating"
    result = here.run(second["command"])
    assert f"warning: takes over the stack from pid {process.pid}, which ended in the midst" in result.stderr
    assert "with 1 pending operations from previous deployment" in result.stdout
    assert "Store::a, interrupted while creating" in result.stdout
    step = {key: value for key, value in second.items() if key != "stdout"}
    compare(here, result, step, second["state"])
    assert here.run("pulumi refresh --yes --skip-preview --clear-pending-creates").exit_code == 0
    assert "pending_operations" not in here.state()


@pytest.mark.full
def test_a_foreign_lock_is_respected_until_it_is_cancelled(place: Any) -> None:
    here = place("locked", "yd")
    recording = load("locked")
    here.write("__main__.py", recording["programs"]["program-1.py"])
    lock = here.folder / ".state/.pulumi/locks/organization/rec/dev/11111111-1111-4111-8111-111111111111.json"
    state: Any = None
    for step in recording["steps"]:
        if step["name"] == "02-refused":
            lock.parent.mkdir(parents=True, exist_ok=True)
            holder = {"pid": 7, "username": "somebody", "hostname": "elsewhere", "timestamp": "2026-01-01T00:00:00Z"}
            lock.write_text(json.dumps(holder))
            refused = here.run(step["command"])
            assert refused.exit_code == step["exit_code"]
            assert "locked by 1 lock(s)" in refused.stderr
            assert "created by somebody@elsewhere (pid 7) at 2026-01-01T00:00:00Z" in refused.stderr
            assert "no longer runs" not in refused.stderr
            continue
        state = step.get("state", state)
        compare(here, here.run(step["command"]), step, state)


def test_of_two_updates_at_once_one_runs_and_the_other_says_who_holds_the_lock(place: Any) -> None:
    here = place("killed", "ye")
    (here.folder / "__main__.py").write_text(HELD)
    held = _hold(here, "create")
    first = here.start("pulumi up --yes --skip-preview")
    _until(lambda: _is_creating(here), first)
    second = here.run("pulumi up --yes --skip-preview")
    assert second.exit_code == 1 and f"(pid {first.pid})" in second.stderr
    held.unlink()
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, out + err


def _plugin(folder: Path, body: str) -> str:
    """Install a shell script as the postgresql plugin, and return a PATH with its folder."""
    tools = folder / "tools"
    tools.mkdir()
    script = tools / "pulumi-resource-postgresql"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return f"{tools}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("echo hello", "it printed 'hello' instead of its port"),
        ("echo boom >&2; exit 3", "it ended instead of its port (exit code 3)\n      boom"),
    ],
)
def test_a_plugin_that_does_not_start_is_an_error_and_changes_nothing(
    place: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    here = place("killed", "yf")
    here.write("__main__.py", "import pulumi_postgresql as pg\npg.Role('g', name='s_g')\n")
    monkeypatch.setenv("PATH", _plugin(tmp_path, body))
    monkeypatch.delenv("PULUMI_IGNORE_AMBIENT_PLUGINS", raising=False)
    result = here.run("pulumi preview")
    assert result.exit_code == 1
    assert message in result.stdout
    assert here.state() is None


@pytest.mark.full
def test_a_plugin_that_dies_in_a_call_is_an_error_and_the_next_up_goes_on(place: Any) -> None:
    here = place("killed", "yg")
    (here.folder / "__main__.py").write_text(HELD)
    provider = here.folder / "dynp.py"
    whole = provider.read_text()
    provider.write_text(whole.replace('_trip("create"); ', "os.kill(os.getpid(), 9); "))
    result = here.run("pulumi up --yes --skip-preview")
    assert result.exit_code == 1
    assert "the plugin of pulumi-python was killed by signal 9 during the call" in result.stdout
    assert {each["type"] for each in here.state()["resources"]} == {
        "pulumi:pulumi:Stack",
        "pulumi:providers:pulumi-python",
    }
    provider.write_text(whole)
    assert here.run("pulumi up --yes --skip-preview").exit_code == 0


@pytest.mark.parametrize(
    "text", ["", "{", '{"version": 3, "checkpoint": {"latest": {"resources": [{}]}}}', '{"version": 9}']
)
def test_a_damaged_or_newer_state_file_is_refused_and_left_as_it_is(place: Any, text: str) -> None:
    here = place("killed", "yh")
    (here.folder / "__main__.py").write_text(HELD)
    path = here.folder / ".state/.pulumi/stacks/rec/dev.json"
    path.write_text(text)
    result = here.run("pulumi up --yes --skip-preview")
    assert result.exit_code == 1
    assert "the state" in result.stderr and "Traceback" not in result.stderr
    assert path.read_text() == text


def test_a_wrong_passphrase_is_refused_before_anything_runs(place: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = place("killed", "yi")
    (here.folder / "__main__.py").write_text(HELD)
    values = here.environment() | {"PULUMI_CONFIG_PASSPHRASE": "wrong"}
    monkeypatch.setattr(here, "environment", lambda: values)
    result = here.run("pulumi up --yes --skip-preview")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: incorrect passphrase") and result.stdout == ""
