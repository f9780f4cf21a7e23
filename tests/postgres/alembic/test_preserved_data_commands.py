"""`kept` lists the data that downgrades preserved, `prune` deletes it, and a restore does not change it."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.migrate.data_loss.preserved_table import read
from tests import formats, loaded
from tests.conftest import Database
from tests.postgres.alembic.backing_up import Backing, require_clients
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE, TWO = "20250101_001", "20250102_002"


@pytest.fixture
def filled(empty_target: Target, database: Database) -> Target:
    """A table of three rows, which TWO creates."""
    with database.connect() as admin:
        admin.execute(f'CREATE SCHEMA kept AUTHORIZATION "{database.name}_owner"'.encode())
    empty_target.write(ONE, None, "op.execute('CREATE TABLE users (id int PRIMARY KEY)')", "pass")
    empty_target.write(TWO, ONE, "op.execute('CREATE TABLE posts (id int PRIMARY KEY)')", "op.drop_table('posts')")
    fill(empty_target)
    return empty_target


def fill(target: Target) -> None:
    target.migrate(TWO)
    with connect(target.url) as connection:
        connection.execute("INSERT INTO posts SELECT generate_series(1, 3)")
        connection.commit()


def kept(target: Target) -> list[Any]:
    with connect(target.url) as connection:
        return read(connection)


def run(target: Target, *arguments: str, code: int = 0) -> str:
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), *arguments, "--directory", target.directory],
        env={**os.environ, "DATABASE_URL": target.url},
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_preserved_rows_are_listed_and_pruned_after_a_question(filled: Target) -> None:
    assert run(filled, "kept") == "no preserved rows\n"
    filled.migrate(ONE)
    [entry] = kept(filled)
    header, row = run(filled, "kept").splitlines()
    assert header.split() == ["id", "revision", "what", "rows", "size", "age", "kept", "until"]
    assert row.split()[:4] == [entry.id, TWO, "app.posts", "3"]
    assert row.endswith(f"restored by {TWO}")
    [listed] = formats.read("kept", run(filled, "kept", "--json"))["kept"]
    assert (listed["id"], listed["rows"], listed["bytes"], listed["moved"]) == (entry.id, 3, 8192, True)

    assert "stdin is not a terminal: pass --yes" in run(filled, "prune", entry.id, code=1)
    assert "there are no preserved rows 12345678. List them: pulumi-alembic kept" in run(
        filled, "prune", "12345678", code=1
    )
    assert "name what to delete: " in run(filled, "prune", "--all", entry.id, code=1)
    assert "name what to delete: " in run(filled, "prune", "--yes", code=1)
    assert run(filled, "prune", "--older-than", "1d", "--yes") == "no preserved rows are that old\n"
    assert kept(filled) == [entry]
    assert run(filled, "prune", "--all", "--yes") == f"deleted {entry.id}: 3 rows of app.posts\n"
    assert kept(filled) == []
    newest = formats.read("history", run(filled, "history", "--json"))["records"][0]
    assert newest["what"] == f"prune app.posts of {TWO}"
    assert newest["result"] == f"pruned: 3 rows of app.posts ({entry.id})"


def test_what_is_old_is_pruned_by_its_age(filled: Target) -> None:
    filled.migrate(ONE)
    [entry] = kept(filled)
    with connect(filled.url) as connection:
        connection.execute(
            f"COMMENT ON TABLE {entry.place} IS '" + comment(connection, entry).replace(entry.when[:4], "2020") + "'"
        )
        connection.commit()
    assert f"deleted {entry.id}" in run(filled, "prune", "--older-than", "30d", "--yes")
    assert kept(filled) == []


def comment(connection: Any, entry: Any) -> str:
    [(text,)] = connection.execute("SELECT obj_description(%s::regclass, 'pg_class')", [entry.place]).fetchall()
    return str(text)


@pytest.mark.full
def test_a_restore_leaves_preserved_rows_and_adds_missing_ones(filled: Target, tmp_path: Path) -> None:
    """Each row exists once in either case: in the table, or preserved."""
    require_clients(filled)
    backing = Backing(filled, tmp_path / "backups")
    while_there = backing.up(ONE)
    [entry] = kept(filled)
    while_kept = backing.up(TWO)
    assert (kept(filled), filled.query("SELECT count(*) FROM posts")) == ([], [(3,)])

    run(filled, "restore", while_kept, "--yes")
    [again] = kept(filled)
    assert (again.id, filled.query(f"SELECT count(*) FROM {again.place}")) == (entry.id, [(3,)])
    run(filled, "restore", while_kept, "--yes")
    assert kept(filled) == [again]
    filled.migrate(TWO)
    assert filled.query("SELECT count(*) FROM posts") == [(3,)]

    filled.migrate(ONE)
    [newer] = kept(filled)
    run(filled, "restore", while_there, "--yes")
    assert kept(filled) == [newer]
    assert filled.query("SELECT count(*) FROM posts") == [(3,)]
