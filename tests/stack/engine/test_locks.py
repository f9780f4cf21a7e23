"""If two operations start at once, one runs, and the other names the holder of the lock, for any two engines."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import NO_CLI

from .faulty.bench import Bench, Launcher, runs

EMBEDDED = str(Path(sys.executable).with_name("pulumi-embedded"))
UP = "up --yes --skip-preview"
HELD = {"method": "Create", "moment": "before", "does": "hold"}


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def bench(launcher: Launcher, tmp_path: Path) -> Bench:
    bench = Bench.new(tmp_path / "bench", launcher)
    bench.declare({"a": {"value": "1"}})
    return bench


@pytest.mark.parametrize(
    ("first", "second"),
    [(EMBEDDED, EMBEDDED), (EMBEDDED, "pulumi"), ("pulumi", EMBEDDED)],
    ids=["embedded, embedded", "embedded, cli", "cli, embedded"],
)
def test_either_engine_respects_the_lock_of_the_other(bench: Bench, first: str, second: str) -> None:
    if "pulumi" in (first, second) and shutil.which("pulumi") is None:
        pytest.skip(NO_CLI)
    begin = [first, *bench.arguments(UP)]
    environment = {**os.environ, **bench.environment(HELD)}
    process = subprocess.Popen(begin, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    hold = bench.store / "hold"
    wait_for(hold, process)
    begin = [second, *bench.arguments(UP)]
    refused = subprocess.run(begin, env={**os.environ, **bench.environment()}, capture_output=True, text=True)
    assert refused.returncode not in (0, None)
    assert f"(pid {process.pid})" in refused.stdout + refused.stderr
    hold.unlink()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert not bench.locks
    assert len(bench.things()) == 1


@pytest.mark.full
def test_the_lock_of_a_killed_engine_is_taken_over_when_its_plugins_are_ended(bench: Bench) -> None:
    plugin = f'"{sys.executable}" -u "{Path(__file__).parent / "faulty" / "plugin.py"}" "$@"'
    bench.plugin(f'trap "" TERM; exec {plugin}')
    engine = bench.start(UP, HELD)
    wait_for(bench.store / "hold", engine)
    left = [int(line.split()[1]) for line in (bench.store / "processes").read_text().splitlines()]
    engine.kill()
    engine.communicate()
    assert any(runs(pid) for pid in left)
    second = bench.start(UP)
    assert second.stderr is not None
    assert second.stderr.readline() == (
        f"warning: takes over the stack from pid {engine.pid}, which ended in the midst of an operation\n"
    )
    assert not any(runs(pid) for pid in left)
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, out + err
    assert not bench.locks


@pytest.mark.parametrize(
    "holder",
    [
        {"hostname": "elsewhere", "held": True},
        {"hostname": socket.gethostname()},
        {"hostname": socket.gethostname(), "held": False},
    ],
    ids=["of another machine", "of the CLI", "on a file system that cannot hold"],
)
def test_a_lock_of_which_the_system_does_not_know_who_holds_it_is_left(bench: Bench, holder: dict[str, object]) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    folder = bench.project / ".state/.pulumi/locks/organization/faulty/dev"
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "11111111-1111-4111-8111-111111111111.json"
    lock.write_text(json.dumps({"pid": ended.pid, "username": "a", "timestamp": "2026-01-01T00:00:00Z", **holder}))
    refused = bench.run(UP)
    assert refused.code == 1
    assert "locked by 1 lock(s)" in refused.output
    assert ("the lock is stale: pulumi-embedded cancel" in refused.output) == (holder["hostname"] != "elsewhere")
    assert lock.exists()
