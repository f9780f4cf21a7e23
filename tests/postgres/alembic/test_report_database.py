"""`pulumi-alembic report --database`: a report without state and passphrase, by a login that cannot read any row."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.ledger.table import REPORTED_COLUMNS
from tests import formats, loaded
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target

ONE, TWO, THREE = "20260101_001", "20260101_002", "20260101_003"


@pytest.fixture
def applied(empty_target: Target) -> Target:
    """A database at the first of three revisions, whose table has rows.

    The third revision drops a column with values.
    """
    create = "op.execute('CREATE TABLE app.people (id int PRIMARY KEY, name text)')"
    empty_target.write(ONE, None, create + "\n    op.execute(\"INSERT INTO app.people VALUES (1, 'a secret name')\")")
    empty_target.write(TWO, ONE, "op.execute('ALTER TABLE app.people ADD COLUMN age int')")
    empty_target.write(THREE, TWO, "op.execute('ALTER TABLE app.people DROP COLUMN name')")
    empty_target.migrate(ONE)
    return empty_target


@pytest.fixture
def reporter(applied: Target, database: Database) -> Iterator[str]:
    """The URL of a login with the rights that docs/security.md names."""
    name, password = f"{database.name}_reporter", secrets.token_hex(12)
    login = sql.Identifier(name)
    with database.connect() as admin:
        admin.execute(sql.SQL(f"CREATE ROLE {{}} LOGIN PASSWORD '{password}'").format(login))
        admin.execute(sql.SQL("ALTER ROLE {} SET search_path = app").format(login))
        admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{database.name}_owner")))
        for statement in (
            "GRANT USAGE ON SCHEMA app, migrations TO {}",
            "GRANT SELECT ON migrations.alembic_version TO {}",
            f"GRANT SELECT ({', '.join(REPORTED_COLUMNS)}) ON migrations.ledger TO {{}}",
        ):
            admin.execute(sql.SQL(statement).format(login))
    parts = urlsplit(applied.url)
    yield f"postgresql://{name}:{password}@{parts.hostname}:{parts.port}{parts.path}"
    with database.connect() as admin:
        admin.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(f"{database.name}_owner")))
        for what in ("TABLES IN SCHEMA migrations", "SCHEMA app, migrations"):
            rights = "SELECT" if "TABLES" in what else "USAGE"
            admin.execute(sql.SQL(f"REVOKE {rights} ON {'ALL ' * ('TABLES' in what)}{what} FROM {{}}").format(login))
        admin.execute("RESET ROLE")
        admin.execute(sql.SQL("DROP ROLE {}").format(login))


def report(target: Target, url: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("pulumi-alembic")
    return loaded.run(
        [program, "report", "--database", "--directory", target.directory, *options],
        env={**os.environ, "DATABASE_URL": url, **environment},
    )


def document(target: Target, url: str, *options: str, **environment: str) -> dict[str, Any]:
    done = report(target, url, "--format", "json", *options, **environment)
    assert done.returncode in (0, 3), done.stderr
    found: dict[str, Any] = formats.read("report", done.stdout)
    return found


@pytest.mark.full
def test_the_report_of_a_login_without_rows_is_that_of_the_migrator(applied: Target, reporter: str) -> None:
    by_reporter, by_migrator = document(applied, reporter), document(applied, applied.url)
    [plan] = by_reporter["plans"]
    assert [each["id"] for each in plan["plan"]["revisions"]] == [TWO, THREE]
    assert plan["digest"] and plan["digest"] == by_migrator["plans"][0]["digest"]
    assert by_reporter["verdict"]["level"] == by_migrator["verdict"]["level"] == "warning"
    # Only a login that can read the values knows their number.
    assert by_migrator["verdict"]["text"].startswith("Deletes 1 value of app.people.name")
    assert by_reporter["verdict"]["text"].startswith("Deletes values of app.people.name")
    assert "a secret name" not in json.dumps(by_reporter)
    shown = report(applied, reporter, "--marker", "fork")
    assert shown.stdout.startswith("<!-- fork -->") and "people" in shown.stdout, shown.stderr


def test_what_the_login_may_not_read_is_not_read(applied: Target, reporter: str) -> None:
    """The login can be given to a job that runs untrusted code: rows and applied scripts stay private."""
    with psycopg.connect(reporter) as session:
        for statement in ("SELECT * FROM app.people", "SELECT source FROM migrations.ledger"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
                session.execute(statement.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute("DELETE FROM migrations.alembic_version")


def test_an_edited_script_is_named_without_its_lines(applied: Target, reporter: str) -> None:
    applied.write(ONE, None, "op.execute('CREATE TABLE app.people (id bigint PRIMARY KEY)')")
    done = report(applied, reporter)
    assert done.returncode == 1
    assert f"{ONE}_script.py is applied, and was edited since" in done.stderr
    assert "(this login cannot read the applied script)" in done.stderr and "bigint" not in done.stderr


def test_other_commands_still_ask_for_a_login_that_can_become_the_owner(applied: Target, reporter: str) -> None:
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), "plan", "--directory", applied.directory],
        env={**os.environ, "DATABASE_URL": reporter},
    )
    assert done.returncode == 1 and "which this role is not a member of" in done.stderr


def test_a_reporter_reads_every_column_of_the_ledger_but_one(applied: Target) -> None:
    columns = applied.query(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 'migrations.ledger'::regclass AND attnum > 0"
    )
    assert {column for (column,) in columns} - set(REPORTED_COLUMNS) == {"source"}
