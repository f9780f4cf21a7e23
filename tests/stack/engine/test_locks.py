"""Of two operations at once one runs and the other says who holds the lock, whichever engines they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import NO_CLI

from .faulty.bench import Bench, Launcher

EMBEDDED = str(Path(sys.executable).with_name("pulumi-embedded"))
UP = "up --yes --skip-preview"
HELD = {"method": "Create", "moment": "before", "does": "hold"}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    launcher = Launcher()
    bench = Bench.new(tmp_path / "bench", launcher)
    bench.declare({"a": {"value": "1"}})
    yield bench
    launcher.close()


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
    deadline = time.monotonic() + 60
    while not hold.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    begin = [second, *bench.arguments(UP)]
    refused = subprocess.run(begin, env={**os.environ, **bench.environment()}, capture_output=True, text=True)
    assert refused.returncode not in (0, None)
    assert f"(pid {process.pid})" in refused.stdout + refused.stderr
    hold.unlink()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert not bench.locks
    assert len(bench.things()) == 1
