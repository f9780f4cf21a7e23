"""If a plugin does not start, dies, hangs or answers rubbish, the error names it, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from .faulty.bench import URN, Bench, Launcher

UP = "up --yes --skip-preview --parallel 1"
PLUGIN = "the plugin of faulty"


@pytest.fixture(scope="module")
def made(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A stack with the thing `a`. The program wants another value of `a`, and also `b`."""
    bench = Bench.new(tmp_path_factory.mktemp("made") / "bench", launcher)
    bench.declare({"a": {"value": "1"}})
    done = bench.run(UP)
    assert done.code == 0, done.output
    bench.declare({"a": {"value": "2"}, "b": {"value": "1", "after": ["a"]}})
    return bench


def without_time(state: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != "manifest"}


STARTS = {
    "a text": ("echo hello", "did not start: it printed 'hello' instead of its port (not a port)"),
    "no port": ("echo 70000", "did not start: it printed '70000' instead of its port"),
    "another digit": ("echo ²", "did not start: it printed '²' instead of its port"),
    "bytes": (r"printf '\377\376\n'; sleep 100", "did not start: it printed '��' instead of its port"),
    "without end": ("cat /dev/zero", r"did not start: it printed '\x00\x00"),
    "nothing": ("sleep 100", "did not start: it said nothing instead of its port (waited 1 s)"),
    "an end": ("echo why >&2; exit 3", "did not start: it ended instead of its port (exit code 3)\n      why"),
    "nobody's port": ("echo 1; sleep 100", "does not answer ("),
    "a missing interpreter": ("exec /nowhere/python", "did not start: it ended instead of its port (exit code 127)"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize(("script", "message"), STARTS.values(), ids=list(STARTS))
def test_a_plugin_that_does_not_start_changes_nothing(bench: Bench, script: str, message: str) -> None:
    before, things = without_time(bench.state()), bench.things()
    bench.plugin(script)
    done = bench.run("destroy --yes --skip-preview", fault={"start": 1})
    assert done.code == 1
    assert f"{PLUGIN} {message}" in done.output and "Traceback" not in done.output
    assert (without_time(bench.state()), bench.things(), bench.locks) == (before, things, [])


@pytest.mark.few(1)
@pytest.mark.parametrize("command", [UP, "preview", "destroy --yes --skip-preview", "refresh --yes --skip-preview"])
def test_a_plugin_that_is_not_there_changes_nothing(bench: Bench, command: str) -> None:
    before = bench.resources()
    (bench.folder / "bin/pulumi-resource-faulty").unlink()
    done = bench.run(command)
    assert done.code == 1
    assert "no resource plugin 'pulumi-resource-faulty' found in the workspace or on your $PATH" in done.output
    after = bench.resources()
    assert [each["outputs"] for each in after] == [each["outputs"] for each in before]
    assert not bench.pending()


@pytest.mark.full
def test_a_handshake_that_is_not_answered_is_given_up(bench: Bench) -> None:
    plan = {"method": "Handshake", "moment": "before", "does": "hold"}
    done = bench.run(UP, plan=plan, fault={"handshake": 1})
    assert done.code == 1 and f"{PLUGIN} did not answer in time" in done.output
    assert not bench.survivors()


@pytest.mark.few("Update")
@pytest.mark.parametrize("method", ["Handshake", "Configure", "Check", "Diff", "Update", "Create"])
def test_a_plugin_that_ends_in_a_call_is_named_and_the_next_up_goes_on(bench: Bench, method: str) -> None:
    done = bench.run(UP, plan={"method": method, "moment": "before", "does": "exit"})
    assert done.code == 1 and f"{PLUGIN} ended with exit code 3 during the call" in done.output
    changing = {"Update": {URN + "a": "updating"}, "Create": {URN + "b": "creating"}}
    assert bench.pending() == changing.get(method, {})
    again = bench.run(UP)
    assert again.code == 0, again.output
    assert len(bench.things()) == 2


ANSWERS = {
    "rubbish": "gave an answer that cannot be read (Exception deserializing response!)",
    "no text": "gave an answer that cannot be read (Exception deserializing response!)",
    "an enormous message": "CLIENT: Received message larger than max (2097157 vs. 1048576)",
    "not a number": "gave an answer that cannot be used: a property is the number nan",
    "an unknown signature": "gave an answer that cannot be used: a property has the signature '0000",
    "an unknown": "gave an answer that cannot be used: value is unknown",
    "no id": "plugin returned empty resource.ID from create",
}


@pytest.mark.few(1)
@pytest.mark.parametrize(("answer", "message"), ANSWERS.items(), ids=list(ANSWERS))
def test_an_answer_that_says_nothing_leaves_the_create_pending(bench: Bench, answer: str, message: str) -> None:
    done = bench.run(UP, plan={"method": "Create", "moment": "answer", "does": answer}, fault={"bytes": 0x100000})
    assert done.code == 1 and message in done.output and "Traceback" not in done.output
    assert bench.pending() == {URN + "b": "creating"}
    assert len(bench.things()) == 2
    again = bench.run(UP)
    assert again.code == 0 and f"{URN}b, interrupted while creating" in again.output


def test_an_empty_answer_to_an_update_leaves_it_pending(bench: Bench) -> None:
    plan = {"method": "Update", "moment": "answer", "does": "not a number"}
    assert bench.run(UP, plan=plan).code == 1
    assert bench.pending() == {URN + "a": "updating"}
    (a,) = bench.resources()
    assert a["outputs"]["value"] == "1" and bench.things()[a["id"]]["inputs"]["value"] == "2"
    # The program wants the value in the state, which is wrong. Only a refresh detects this.
    bench.declare({"a": {"value": "1"}})
    assert bench.run(UP).code == 0
    assert bench.pending() == {URN + "a": "updating"}
    assert bench.run("refresh --yes --skip-preview").code == 0
    assert not bench.pending()
    assert bench.run(UP).code == 0
    assert bench.things()[a["id"]]["inputs"]["value"] == "1"


def test_a_refusal_is_an_answer_and_leaves_nothing_pending(bench: Bench) -> None:
    done = bench.run(UP, plan={"method": "Update", "moment": "before", "does": "refuse"})
    assert done.code == 1 and "error: refused as told" in done.output
    assert not bench.pending()


@pytest.mark.full
def test_a_refresh_that_fails_forgets_no_interrupted_operation(bench: Bench) -> None:
    assert bench.run(UP, plan={"method": "Update", "moment": "acted", "does": "exit"}).code == 1
    assert bench.run("refresh --yes --skip-preview", plan={"method": "Read", "moment": "before", "does": "exit"}).code
    assert bench.pending() == {URN + "a": "updating"}


def until(condition: Any, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupt(process: subprocess.Popen[str]) -> None:
    """Send Ctrl-C, and return when the engine has reported it."""
    os.kill(process.pid, signal.SIGINT)
    assert process.stdout is not None
    while "^C received" not in process.stdout.readline():
        assert process.poll() is None


@pytest.mark.few("Update")
@pytest.mark.parametrize("method", ["Configure", "Check", "Update"])
def test_one_ctrl_c_waits_for_the_call_that_hangs_and_begins_no_other(bench: Bench, method: str) -> None:
    process = bench.start(UP, {"method": method, "moment": "before", "does": "hold"})
    hold = bench.store / "hold"
    until(hold.exists, process)
    interrupt(process)
    assert process.poll() is None
    hold.unlink()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in out + err
    assert {"Create", "Update"} & set(bench.calls()) <= {method}
    assert not bench.pending() and not bench.locks and not bench.survivors()


@pytest.mark.few("Update")
@pytest.mark.parametrize("method", ["start", "Handshake", "Configure", "Check", "Update"])
def test_two_ctrl_c_end_at_once_and_leave_what_was_begun_pending(bench: Bench, method: str) -> None:
    if method == "start":
        started = bench.store / "hold"
        bench.plugin(f'echo "plugin $$" >> "{bench.store}/processes"; touch "{started}"; exec sleep 100')
    process = bench.start(UP, {"method": method, "moment": "before", "does": "hold"})
    until((bench.store / "hold").exists, process)
    interrupt(process)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 8 and "Traceback" not in out + err
    assert bench.pending() == ({URN + "a": "updating"} if method == "Update" else {})
    assert not bench.locks and not bench.survivors()
