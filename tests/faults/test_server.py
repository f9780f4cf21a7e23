"""The server stops, or its disk is full, at a statement of a run: the next run ends in the right state.

The tests run a draw of the faults, and `make test-all` runs all of them.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from taskdb.local.binaries import Binaries
from taskdb.local.postmaster import postmaster
from tests.conftest import Database, ThrowawayCluster, create_cluster
from tests.faults.campaign import SCENARIOS, Campaign, Fault, Launcher, Site, Strike, fresh_name
from tests.faults.conftest import ALL, Count, share
from tests.faults.striking import Striker, Way
from tests.postgres.alembic.waiting import until

SHARES = 8 if ALL else 1
STOPS = 1
FULL = 1
EVERY = 5
"""A server takes a second to stop and to start, so every fifth statement is struck.

With a full disk, all are struck.
"""

SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SIZE = "2m"


@pytest.fixture(scope="module")
def cluster(run_folder: Path, binaries: Binaries) -> Iterator[ThrowawayCluster]:
    """A server for these tests, whose commits are on the disk when it confirms them."""
    made = create_cluster(run_folder, binaries, {"synchronous_commit": "on", "fsync": "on", "full_page_writes": "on"})
    yield made
    made.cluster.stop()


def site(cluster: ThrowawayCluster, scripts: Path) -> Site:
    return Site.new(Database(cluster.server, fresh_name()), scripts)


@pytest.fixture(scope="module")
def stopping(cluster: ThrowawayCluster, scripts: Path, launcher: Launcher) -> Campaign:
    return Campaign(site(cluster, scripts), launcher)


def faults(campaign: Campaign, kinds: list[str], moments: list[str], every: int) -> list[Fault]:
    return [
        Fault(scenario, kind, moment, number)
        for scenario in SCENARIOS
        for kind in kinds
        for moment in moments
        for number in range(1, len(campaign.clean(scenario)[0]) + 1, every)
    ]


def stop(cluster: ThrowawayCluster, how: str) -> Strike:
    def stop(_: Striker, __: Way, ___: int) -> bool:
        pid = postmaster(cluster.cluster.data)
        assert pid
        os.kill(pid, SIGNALS[how])
        until(lambda: postmaster(cluster.cluster.data) is None)
        cluster.cluster.start(cluster.server.port)
        return False

    return stop


@pytest.mark.parametrize("number", range(SHARES))
def test_a_run_converges_after_a_server_restart_at_any_statement(
    number: int, cluster: ThrowawayCluster, stopping: Campaign, count: Count
) -> None:
    drawn = share(faults(stopping, list(SIGNALS), ["before", "after"], EVERY), number, SHARES)
    count((stopping.survives(fault, stop(cluster, fault.kind)) for fault in drawn), STOPS)


@pytest.fixture(scope="module")
def small(run_folder: Path) -> Iterator[Path]:
    """A separate disk of two megabytes."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount the small disk of the disk-full tests")
    folder = Path(tempfile.mkdtemp(prefix="disk-", dir=run_folder))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip("mount is not permitted here, and so the disk-full tests have no small disk")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def crowded(small: Path, cluster: ThrowawayCluster, scripts: Path, launcher: Launcher) -> Iterator[Campaign]:
    """A campaign whose tables and indexes are in a tablespace on the small disk."""
    own, space = cluster.cluster, small / "space"
    space.mkdir(mode=0o700)
    own.account.own(space)
    own.stop()
    # Only the superuser can create a tablespace, and no login can become the superuser.
    for statement in (f"CREATE TABLESPACE small LOCATION '{space}'\n", "GRANT CREATE ON TABLESPACE small TO PUBLIC\n"):
        single_user = ("--single", "-D", own.data, "-c", "exit_on_error=true", "postgres")
        done = own.account.run(own.binaries.program("postgres"), *single_user, stdin=statement)
        assert done.returncode == 0, done.stderr
    own.start(cluster.server.port)
    made = site(cluster, scripts)
    with made.database.connect() as admin:
        admin.execute(f"ALTER DATABASE {made.database.name} SET default_tablespace = small".encode())
    yield Campaign(made, launcher)
    # The server must stop before its disk disappears.
    own.stop()


@pytest.mark.parametrize("number", range(SHARES))
def test_a_run_converges_after_a_full_disk_at_any_statement(
    number: int, small: Path, crowded: Campaign, count: Count
) -> None:
    ballast = small / "ballast"

    def fill(_: Striker, __: Way, ___: int) -> bool:
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        return True

    def survives(fault: Fault) -> str | None:
        outcome = crowded.survives(fault, fill, lambda: ballast.unlink(missing_ok=True))
        full = "No space left on device" in crowded.first.output
        if full and "Correct the script" in crowded.first.output:
            return f"{fault}: the script is not to blame: {crowded.first}"
        # A run that needs no more space does not meet the fault.
        return outcome if full else outcome or None

    drawn = share(faults(crowded, ["the disk is full"], ["before"], 1), number, SHARES)
    count((survives(fault) for fault in drawn), FULL)
