"""The spans of a run: waits, retries and failures with their codes, without values and passwords."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.policy import Policy
from tests import loaded
from tests.collector import Collected
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.stack import Stack
from tests.postgres.alembic.tenants import Tenants, tenants_of
from tests.postgres.alembic.waiting import Told, blocker

ONE, TWO = "20250101_001", "20250102_002"
COMMANDS = (("alembic", ONE), ("pulumi-alembic", TWO))
TABLE = "op.execute('CREATE TABLE t (name text PRIMARY KEY)')"


def test_a_revision_that_waits_has_a_span_for_each_attempt(empty_target: Target, collected: Collected) -> None:
    empty_target.write(ONE, None, TABLE)
    empty_target.migrate(ONE)
    empty_target.write(TWO, ONE, "op.execute(\"INSERT INTO t VALUES ('s3cr3t'), ('other')\")")
    told = Told()
    options = {"policy": Policy(lock_timeout=0.4, lock_deadline=60.0), "on_status": told}
    with blocker(empty_target, "LOCK TABLE app.t") as session:
        run = threading.Thread(target=empty_target.migrate, args=[TWO], kwargs=options)
        run.start()
        told.wait_for("tries again", "the report")
        pid = session.info.backend_pid
    run.join()

    first, *_, last = collected.named(f"upgrade {TWO}")
    assert first.failed and first.attributes["error.type"] == "55P03"
    assert not last.failed and last.attributes["pulumi_alembic.attempt"] > 1
    assert [pid] in [
        each.attributes["pulumi_alembic.blocked_by"] for each in collected.named("wait for the next attempt")
    ]
    [insert] = collected.children(last)
    assert insert.attributes["db.query.text"] == "INSERT INTO t VALUES (?), (?)"
    assert insert.attributes["pulumi_alembic.rows"] == 2
    assert collected.path(insert) == ["attempt", f"upgrade {TWO}", "INSERT"]
    outcomes = [each.get("error.type") for each in collected.metrics["pulumi_alembic.revisions"]]
    assert sorted(outcomes, key=str) == ["55P03", None]
    assert "s3cr3t" not in "".join(collected.raw)


def test_a_failure_is_its_code_on_each_level_and_no_value(empty_target: Target, collected: Collected) -> None:
    twice = "op.execute(\"INSERT INTO t VALUES ('s3cr3t')\")"
    empty_target.write(ONE, None, f"{TABLE}; {twice}; {twice}")
    with pytest.raises(RevisionFailed):
        empty_target.migrate(ONE)

    failed = [(each.name, each.attributes["error.type"]) for each in collected.spans if each.failed]
    assert failed == [("INSERT", "23505"), (f"upgrade {ONE}", "23505"), ("attempt", "23505")]
    password = empty_target.url.split(":")[2].split("@")[0]
    assert not [text for text in collected.raw if "s3cr3t" in text or password in text]


@pytest.fixture
def tenants(database: Database, empty_target: Target) -> Iterator[Tenants]:
    empty_target.write(ONE, None, TABLE)
    with tenants_of(database, empty_target, 2) as made:
        yield made


@pytest.mark.full
def test_each_of_many_databases_has_a_span(tenants: Tenants, collected: Collected) -> None:
    stack = Stack(tenants.target.url)
    stack.up(tenants.target.directory, ONE, databases=list(tenants.names))

    found = collected.named("migrate database")
    assert sorted(each.attributes["db.namespace"] for each in found) == sorted(tenants.names)
    for database in found:
        assert collected.path(database) == ["Migrations.create", "migrate database"]
        names = [each.name for each in collected.children(database)]
        assert names == ["migration lock", "plan", "review", "backup", "attempt", "read the revision"]


def test_the_alembic_command_and_ours_are_a_trace_each(empty_target: Target, collected: Collected) -> None:
    empty_target.write(ONE, None, TABLE)
    empty_target.alembic("upgrade", "head")
    empty_target.write(TWO, ONE, TABLE.replace("TABLE t", "TABLE u"))
    done = loaded.run(
        [Path(sys.executable).with_name("pulumi-alembic"), "upgrade"],
        cwd=empty_target.directory.parent,
        env=os.environ | {"DATABASE_URL": empty_target.url},
    )
    assert done.returncode == 0, done.stderr
    paths = [collected.path(each) for each in collected.named("CREATE TABLE")]
    own = [[name for name in path if name != "data-loss guard"] for path in paths]
    assert own == [[f"{command} upgrade", "attempt", f"upgrade {id}", "CREATE TABLE"] for command, id in COMMANDS]
