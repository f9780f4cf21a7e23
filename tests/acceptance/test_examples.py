"""Each program of examples/ runs unchanged on each engine, and none of them needs this project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskdb.local import Server
from tests import loaded
from tests.acceptance.project import ENGINES, PASSED_ON
from tests.conftest import PROJECT, ThrowawayCluster

EXAMPLES = PROJECT / "examples"
HEAD = "20260101_001"


@pytest.fixture
def server(make_cluster: Callable[..., ThrowawayCluster]) -> Server:
    """A server for these tests.

    Its database names are not those of tests, which other tests ignore on the shared server.
    """
    return make_cluster().server


@pytest.fixture
def examples(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    for name in ("one-database", "tenants"):
        (tmp_path / "examples" / name / ".venv").symlink_to(sys.prefix)
    yield tmp_path / "examples"


@pytest.fixture
def run(examples: Path, engine: str, server: Server) -> Callable[..., str]:
    """Return a function that runs the engine in an example's folder, and returns the output."""
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    state = examples.parent / "state"
    state.mkdir()
    environment |= {
        "HOME": str(examples.parent),
        "PULUMI_BACKEND_URL": f"file://{state}",
        "PULUMI_SKIP_UPDATE_CHECK": "1",
    }
    environment["PULUMI_CONFIG_PASSPHRASE"] = "of the examples"
    program = shutil.which(ENGINES[engine], path=environment["PATH"])
    assert program

    def run(name: str, *arguments: str) -> str:
        done = loaded.run([program, *arguments], cwd=examples / name, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin(name: str, **more: str) -> Callable[..., str]:
        run(name, "stack", "init", "dev")
        values = {
            "host": server.host,
            "port": str(server.port),
            "admin": server.username,
            "sslmode": "disable",
        }
        for key, value in {**values, **more}.items():
            run(name, "config", "set", *(["--path"] if "[" in key else []), key, value)
        for key, value in {"admin_password": server.password, "migrator_password": "-a/b c@d"}.items():
            run(name, "config", "set", "--secret", "--", key, value)
        return lambda *arguments: run(name, *arguments)

    return begin


def test_one_database_goes_up_stays_and_goes(run: Callable[..., Callable[..., str]], server: Server) -> None:
    shop = run("one-database")
    shop("up", "--yes")
    assert shop("stack", "output", "revision").strip() == HEAD
    assert "9 unchanged" in shop("up", "--yes")
    shop("destroy", "--yes")


@pytest.mark.full
def test_a_tenant_more_gets_its_database_and_the_same_schema(
    run: Callable[..., Callable[..., str]], server: Server
) -> None:
    tenants = run("tenants", **{"tenants[0]": "ada", "tenants[1]": "bob"})
    tenants("up", "--yes")
    tenants("config", "set", "--path", "tenants[2]", "eve")
    tenants("up", "--yes")
    assert tenants("stack", "output", "revisions").replace(" ", "").strip() == f'{{"{HEAD}":3}}'
    tenants("destroy", "--yes")


@pytest.mark.full
def test_the_tests_of_a_program_pass(examples: Path, server: Server) -> None:
    login = {"HOST": server.host, "PORT": server.port, "ADMIN": server.username, "PASSWORD": server.password}
    environment = {f"SHOP_{name}": str(value) for name, value in login.items()}
    (examples / "pytest.ini").touch()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "pytest"],
        cwd=examples,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert re.search(r"^2 passed", done.stdout, re.MULTILINE), done.stdout + done.stderr


def test_no_example_imports_the_project() -> None:
    for path in EXAMPLES.rglob("*.py"):
        assert "taskdb" not in path.read_text(), path
