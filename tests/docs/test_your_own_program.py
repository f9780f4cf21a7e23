"""The commands of the guide "Add it to your own program", in a folder with a project that `alembic init` made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from taskdb.local import Server
from tests.acceptance.project import ENGINES, PASSED_ON, has_engine
from tests.conftest import NO_CLI, PROJECT, Database, ThrowawayCluster
from tests.docs.pages import steps
from tests.docs.reader import Reader, Shell, rewritten

PAGE = PROJECT / "docs/your-own-program.md"
PASSWORD = "hush"


@pytest.fixture(params=["embedded", pytest.param("pulumi", marks=pytest.mark.full)])
def engine(request: pytest.FixtureRequest) -> str:
    if not has_engine(request.param):
        pytest.skip(NO_CLI)
    return str(request.param)


@pytest.fixture
def server(make_cluster: Callable[..., ThrowawayCluster]) -> Server:
    """A server for these tests.

    Its database names are not those of tests, which other tests ignore on the shared server.
    """
    return make_cluster().server


@pytest.fixture
def url(server: Server) -> str:
    """Create the database `books` of a login that owns it and can create databases, and return its URL."""
    with Database(server, "postgres").connect() as admin:
        admin.autocommit = True
        admin.execute(f"CREATE ROLE books LOGIN CREATEDB PASSWORD '{PASSWORD}'")
        admin.execute("GRANT books TO CURRENT_USER")
        admin.execute("CREATE DATABASE books OWNER books")
    return f"postgresql://books:{PASSWORD}@{server.host}:{server.port}/books"


@pytest.fixture
def project(tmp_path: Path, url: str) -> Path:
    """Create an Alembic project with its own command, with one applied revision."""
    alembic = str(Path(sys.executable).with_name("alembic"))
    subprocess.run([alembic, "init", "migrations"], cwd=tmp_path, check=True, capture_output=True)
    settings = tmp_path / "alembic.ini"
    address = url.replace("postgresql://", "postgresql+psycopg://")
    settings.write_text(re.sub("^sqlalchemy.url = .*", f"sqlalchemy.url = {address}", settings.read_text(), flags=re.M))
    subprocess.run([alembic, "revision", "-m", "create authors"], cwd=tmp_path, check=True, capture_output=True)
    [script] = (tmp_path / "migrations/versions").glob("*.py")
    body = "op.create_table('authors', sa.Column('id', sa.Integer, primary_key=True))"
    up, down = script.read_text().rsplit("    pass", 1)
    script.write_text(f"{up.replace('    pass', f'    {body}')}    op.drop_table('authors'){down}")
    subprocess.run([alembic, "upgrade", "head"], cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.full
def test_the_guide_turns_an_alembic_project_into_a_stack(project: Path, url: str, server: Server, engine: str) -> None:
    [old] = {path.name.partition("_")[0] for path in (project / "migrations/versions").glob("*.py")}
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(project)}
    environment |= {"HOST": server.host, "PORT": str(server.port), "PASSWORD": PASSWORD}
    environment |= {"PULUMI_SKIP_UPDATE_CHECK": "1", "USER": "ada", "LOGNAME": "ada"}
    shell = Shell(project, environment)
    spoken = {"pulumi-embedded": ENGINES[engine], "pip install": "pip install --no-index"}
    reader = Reader(
        project, shell, speaks=lambda command: re.sub("|".join(spoken), lambda found: spoken[found[0]], command)
    )
    differences = []
    try:
        for step in steps(PAGE):
            if engine == "pulumi" and step.path == "Pulumi.yaml":
                step.text = step.text.replace(
                    "runtime: python", "runtime: {name: python, options: {virtualenv: .venv}}"
                )
                (project / ".venv").symlink_to(sys.prefix)
            differences.append(reader.compare(step, reader.follow(step)))
    finally:
        shell.close()
    if os.environ.get("TASKDB_DOCS") == "print":
        PAGE.write_text(rewritten(PAGE.read_text(), reader.printed))
    else:
        assert not "".join(differences)
    [new] = {path.name.partition("_")[0] for path in (project / "migrations/versions").glob("*.py")} - {old}
    assert len(old) == len(new) == 12, "both ids are Alembic's own"
    with psycopg.connect(url) as connection:
        heads = connection.execute("SELECT version_num FROM migrations.alembic_version").fetchall()
        ledger = "SELECT revision, event FROM migrations.ledger WHERE event IN ('adopted', 'applied') ORDER BY id"
        assert heads == [(new,)]
        assert connection.execute(ledger).fetchall() == [(old, "adopted"), (new, "applied")]
        assert connection.execute(sql.SQL("SELECT to_regclass('public.alembic_version')")).fetchone() == (None,)
