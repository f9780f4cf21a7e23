"""A fan-out on the test bench: one resource for many databases, its outputs for the program, and its state."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pulumi
import pytest

from pulumi_alembic import Migrations, Query, Schemas, Waves
from pulumi_embedded.testing import Engine
from taskdb.local import Server
from tests.conftest import Database, drop_database

pytest_plugins = ["pulumi_embedded.testing"]

ONE, TWO = "20250101_001", "20250102_002"
ENV = """
import os
import sqlalchemy as sa
from pulumi_alembic import environment

environment.run(target_metadata=sa.MetaData(), url=lambda: os.environ["DATABASE_URL"])
"""
SCRIPT = '''"""{id}"""
from alembic import op
revision = {id!r}
down_revision = {down!r}
def upgrade():
    op.execute("CREATE TABLE t{id} (id int)")
def downgrade():
    op.execute("DROP TABLE t{id}")
'''


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Write two revisions."""
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(ENV)
    for id, down in ((ONE, None), (TWO, ONE)):
        (versions / f"{id}_script.py").write_text(SCRIPT.format(id=id, down=down))
    return versions.parent


@pytest.fixture
def names(server: Server) -> Iterator[list[str]]:
    """Create three databases of the admin, with the schema of the migration tables."""
    prefix = f"shop_{secrets.token_hex(4)}"
    made = [Database(server, f"{prefix}_{number}") for number in range(3)]
    with Database(server, "postgres").connect() as admin:
        for each in made:
            admin.execute(f"CREATE DATABASE {each.name} TEMPLATE template0")
    for each in made:
        with each.connect() as owner:
            owner.execute("CREATE SCHEMA migrations")
    yield [each.name for each in made]
    for each in made:
        drop_database(each)


def address(server: Server) -> str:
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


def test_a_list_is_one_resource_whose_outputs_are_counts(
    engine: Engine, server: Server, directory: Path, names: list[str]
) -> None:
    def program(target: str = "head", count: int = 3) -> None:
        url = pulumi.Output.secret(address(server))
        made = Migrations("shops", url=url, directory=str(directory), target=target, databases=names[:count])
        pulumi.export("revisions", made.revisions)
        pulumi.export("revision", made.revision)
        pulumi.export("failures", made.failures)

    engine.program = lambda: program(ONE, 2)
    created = engine.up()
    assert created.changes == {"create": 2}
    assert created.outputs == {"revisions": {ONE: 2}, "revision": ONE, "failures": {}}
    engine.program = program
    preview = engine.preview()
    assert preview.step("shops").op == "update"
    assert preview.step("shops").new.inputs["plan"] == f"2 databases: {ONE} → {TWO}; 1: base → {TWO}"
    assert engine.up().outputs["revisions"] == {TWO: 3}
    assert not engine.preview(refresh=True).has_changes
    state = engine.state_file.read_text()
    assert not any(name in state for name in names) and server.password not in state
    engine.destroy()
    with Database(server, names[0]).connect() as admin:
        assert admin.execute("SELECT version_num FROM migrations.alembic_version").fetchall() == [(TWO,)]


@pytest.mark.full
def test_a_query_is_asked_anew_each_time(engine: Engine, server: Server, directory: Path, names: list[str]) -> None:
    query = f"SELECT datname FROM pg_database WHERE starts_with(datname, '{names[0][:-2]}') ORDER BY 1"

    def program() -> None:
        url = pulumi.Output.secret(address(server))
        asked = Query(query, url=url, timeout="20s")
        made = Migrations("shops", url=url, directory=str(directory), databases=asked, waves=Waves(wave=2, parallel=2))
        pulumi.export("revisions", made.revisions)

    engine.program = program
    assert engine.up().outputs["revisions"] == {TWO: 3}
    new = Database(server, f"{names[0][:-2]}_new")
    with Database(server, "postgres").connect() as admin:
        admin.execute(f"CREATE DATABASE {new.name} TEMPLATE {names[0]}")
    try:
        assert not engine.refresh().errors
        assert engine.up().outputs["revisions"] == {TWO: 4}
    finally:
        drop_database(new)


@pytest.mark.full
def test_a_failed_wave_is_in_the_state_and_the_next_update_goes_on(
    engine: Engine, server: Server, directory: Path, names: list[str]
) -> None:
    def program() -> None:
        url = pulumi.Output.secret(address(server))
        Migrations("shops", url=url, directory=str(directory), databases=names)

    engine.program = program
    in_the_way(server, names[1], f"CREATE TABLE public.t{TWO} (id int)")
    failed = engine.up(expect_failure=True)
    assert f"{names[1]}: revision {TWO} failed on upgrade" in failed.errors[0]
    outputs = engine.resources[-1].outputs
    assert outputs["revisions"] == {TWO: 2, ONE: 1} and list(outputs["failures"]) == [names[1]]
    in_the_way(server, names[1], f"DROP TABLE public.t{TWO}")
    again = engine.up()
    assert again.resource("shops").outputs["revisions"] == {TWO: 3}
    assert again.resource("shops").outputs["failures"] == {}


def test_schemas_are_one_resource_whose_outputs_are_counts(
    engine: Engine, server: Server, directory: Path, names: list[str]
) -> None:
    in_the_way(server, names[0], "CREATE SCHEMA room_a; CREATE SCHEMA room_b")
    url = address(server).replace("/postgres", f"/{names[0]}")

    def program(schemas: Any = ("room_a", "room_b")) -> None:
        made = Migrations("rooms", url=pulumi.Output.secret(url), directory=str(directory), schemas=schemas)
        pulumi.export("revisions", made.revisions)

    engine.program = program
    assert engine.preview().step("rooms").new.inputs["plan"] == f"2 schemas: base → {TWO}"
    assert engine.up().outputs["revisions"] == {TWO: 2}
    assert not engine.preview(refresh=True).has_changes
    assert "room_a" not in engine.state_file.read_text()
    in_the_way(server, names[0], "CREATE SCHEMA room_c")
    query = Query("SELECT nspname FROM pg_namespace WHERE starts_with(nspname, 'room_') ORDER BY 1")
    engine.program = lambda: program(Schemas(query, shared=["public"]))
    assert engine.up().outputs["revisions"] == {TWO: 3}
    assert not engine.preview(refresh=True).has_changes


def in_the_way(server: Server, name: str, statement: str) -> None:
    with Database(server, name).connect() as admin:
        admin.execute(statement)
        assert isinstance(admin, psycopg.Connection)
