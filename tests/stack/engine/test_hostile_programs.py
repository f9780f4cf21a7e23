"""If a program damages itself, the engine reports it, ends, and deletes nothing that was not requested."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from .faulty.bench import URN, Bench, Launcher
from .test_hostile_plugins import interrupt, until, without_time

UP = "up --yes --skip-preview"
A = """
import os, subprocess, sys, pulumi
pulumi.CustomResource('faulty:index:Thing', 'a', {'value': '1', 'kind': 'x'})
"""


@pytest.fixture(scope="module")
def made(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A stack with the things `a` and `b`. The programs here want `a`."""
    bench = Bench.new(tmp_path_factory.mktemp("made") / "bench", launcher)
    bench.declare({"a": {"value": "1", "kind": "x"}, "b": {"value": "1", "kind": "x"}})
    done = bench.run(UP)
    assert done.code == 0, done.output
    return bench


ENDS = {
    "raise": ("raise ValueError('why')", "ValueError: why"),
    "syntax": ("(", "SyntaxError: '(' was never closed"),
    "SystemExit": ("sys.exit(4)", "an unhandled error occurred: program exited with non-zero exit code: 4"),
    "SystemExit text": ("sys.exit('why')", "why"),
    "_exit": ("os._exit(5)", "an unhandled error occurred: program exited with non-zero exit code: 5"),
    "_exit 0": ("os._exit(0)", "the program ended its process before it came to its end; nothing was deleted"),
    "kill": ("os.kill(os.getpid(), 9)", "the program was killed by signal 9"),
    "left behind": ("subprocess.Popen(['sleep', '30']); sys.exit(6)", "non-zero exit code: 6"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize(("end", "message"), ENDS.values(), ids=list(ENDS))
def test_a_program_that_does_not_come_to_its_end_deletes_nothing(bench: Bench, end: str, message: str) -> None:
    before, things = without_time(bench.state()), bench.things()
    (bench.project / "__main__.py").write_text(A + end)
    begun = time.monotonic()
    done = bench.run(UP)
    assert done.code == 1 and message in done.output, done.output
    assert time.monotonic() - begun < 15
    assert {each["urn"] for each in without_time(bench.state())["resources"]} == {
        each["urn"] for each in before["resources"]
    }
    assert bench.things() == things and not bench.locks


def test_a_program_that_exits_with_success_has_come_to_its_end(bench: Bench) -> None:
    """The Pulumi CLI (3.260) does the same."""
    (bench.project / "__main__.py").write_text(A + "sys.exit(0)")
    done = bench.run(UP)
    assert done.code == 0, done.output
    assert [each["urn"] for each in bench.things().values()] == [URN + "a"]


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("command", "times", "deaf"),
    [(UP, 1, False), (UP, 2, True), ("preview", 1, True), ("preview", 2, False)],
)
def test_ctrl_c_ends_a_program_that_never_ends(bench: Bench, command: str, times: int, deaf: bool) -> None:
    before = {each["urn"] for each in bench.state()["resources"]}
    waits = bench.folder / "waits"
    (bench.project / "__main__.py").write_text(
        A
        + f"open({str(bench.store / 'processes')!r}, 'a').write(f'program {{os.getpid()}}\\n')\n"
        + ("import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" if deaf else "")
        + f"open({str(waits)!r}, 'w')\nimport time\nwhile True: time.sleep(1)\n"
    )
    process = bench.start(command)
    until(waits.exists, process)
    interrupt(process)
    if times == 2:
        os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == (1 if times == 1 else 8) and "Traceback" not in out + err
    assert {each["urn"] for each in bench.state()["resources"]} == before
    assert not bench.locks and not bench.survivors()


@pytest.mark.full
def test_rubbish_that_the_program_prints_does_no_harm(bench: Bench) -> None:
    rubbish = r"b'\xff\xfe\x00\x1b[2J\x1b]0;title\x07\r\n' * 50 + b'x' * 100000"
    (bench.project / "__main__.py").write_text(
        A + f"for stream in (1, 2): os.write(stream, {rubbish})\npulumi.export('done', 'yes')\n"
    )
    for command in ("preview", "preview --json", f"{UP} --diff", UP):
        done = bench.run(command)
        assert done.code == 0, done.output[-2000:]
    assert bench.state()["resources"][0]["outputs"] == {"done": "yes"}


def test_a_process_that_the_program_leaves_behind_holds_nothing_up(bench: Bench) -> None:
    (bench.project / "__main__.py").write_text(A + "subprocess.Popen(['sleep', '30'])\n")
    begun = time.monotonic()
    done = bench.run(UP)
    assert done.code == 0, done.output
    assert time.monotonic() - begun < 15


def test_a_program_that_closes_its_streams_does_no_harm(bench: Bench) -> None:
    (bench.project / "__main__.py").write_text(A + "os.close(1); os.close(2)\n")
    done = bench.run(UP)
    assert done.code == 0, done.output


def test_an_interpreter_that_is_none_is_an_error(bench: Bench) -> None:
    before = bench.state_file.read_bytes()
    (bench.project / ".venv").unlink()
    (bench.project / ".venv/bin").mkdir(parents=True)
    (bench.project / ".venv/bin/python").symlink_to("/bin/false" if os.access("/bin/false", os.X_OK) else sys.prefix)
    done = bench.run(UP)
    assert done.code == 1 and "program exited with non-zero exit code: 1" in done.output
    (bench.project / ".venv/bin/python").unlink()
    gone = bench.run(UP)
    assert gone.code == 1 and "the virtualenv that Pulumi.yaml names does not exist" in gone.output
    assert len(before) and len(bench.things()) == 2


@pytest.mark.full
def test_the_engine_hears_of_a_signal_as_of_ctrl_c(bench: Bench) -> None:
    """SIGTERM stops the engine just as SIGINT does."""
    waits = bench.folder / "waits"
    (bench.project / "__main__.py").write_text(A + f"open({str(waits)!r}, 'w')\nimport time\ntime.sleep(100)\n")
    process: subprocess.Popen[str] = bench.start(UP)
    until(waits.exists, process)
    process.terminate()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 1 and "^C received" in out
    assert not bench.locks
