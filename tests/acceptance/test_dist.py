"""Each of the three packages is built, checked, installed alone, and then run."""

import subprocess

import pytest

from tests.conftest import PROJECT


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_each_package_installs_and_runs_alone() -> None:
    done = subprocess.run(["make", "dist"], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Built and tried" in done.stdout
