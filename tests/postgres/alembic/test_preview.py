"""A preview changes nothing on the server, waits for no session and blocks none, even if it rehearses."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.provider import MigrationsProvider
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic.catalog import OBJECTS
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import LONGEST, blocker, writes

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
TABLE = """
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, x text);
INSERT INTO t (x) VALUES ('a'), ('b')
"""
UPGRADES = {
    TWO: "op.execute('ALTER TABLE t ALTER x TYPE varchar(1)'); op.execute(\"INSERT INTO t (x) VALUES ('c')\")",
    THREE: "op.execute('CREATE ROLE nobody_at_all'); op.execute('DROP TABLE t'); op.get_bind().execute(None).scalar()",
}
EVERYTHING = {
    "objects": OBJECTS,
    "rows": "SELECT id, x FROM t ORDER BY id",
    "sequences": "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1",
    # The roles of other tests come and go.
    "roles": """
        SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolcanlogin, rolconfig FROM pg_roles
        WHERE rolname NOT LIKE 'test%' OR starts_with(rolname, current_database()) ORDER BY 1
    """,
    "members": """
        SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members
        WHERE starts_with(roleid::regrole::text, current_database()) ORDER BY 1, 2
    """,
    "databases": """
        SELECT datname, datacl, setconfig FROM pg_database d LEFT JOIN pg_db_role_setting ON setdatabase = d.oid
        WHERE datname !~ '^(rehearsal_)?test_' OR strpos(datname, current_database()) > 0 ORDER BY 1
    """,
    "migrations": "SELECT id, revision, event FROM migrations.ledger ORDER BY id",
    "version": "SELECT version_num FROM migrations.alembic_version",
    "tables": "SELECT relname FROM pg_class WHERE relnamespace = 'migrations'::regnamespace ORDER BY 1",
}


@pytest.fixture
def one(empty_target: Target) -> Target:
    """A table with rows, and two pending revisions: one that writes, one that runs Python."""
    empty_target.write(ONE, None, f"op.execute({TABLE!r})")
    empty_target.write(TWO, ONE, UPGRADES[TWO])
    empty_target.write(THREE, TWO, UPGRADES[THREE])
    empty_target.migrate(ONE)
    return empty_target


@pytest.fixture
def admin_url(server: Server) -> str:
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


@pytest.fixture
def no_pg_dump(server: Server) -> str:
    """Return why nothing can be rehearsed on this server, or an empty text if it can."""
    with Database(server, "postgres").connect() as admin:
        major = admin.info.server_version // 10000
    return "" if find_client(major) else f"no pg_dump of PostgreSQL {major} or newer is on this machine"


def preview(target: Target, revision: str = THREE, admin: str = "") -> dict[str, Any]:
    news = {
        "url": target.url,
        "directory": str(target.directory),
        "target": revision,
        "__urn": "urn",
        "__rehearse_with": admin,
    }
    answer = MigrationsProvider().check({}, news)
    assert answer.failures == []
    return dict(answer.inputs)


def how(shown: dict[str, Any]) -> str:
    """Return why the plan was not rehearsed, or an empty text if it was."""
    review = json.loads(shown["__plan"])
    return "" if review.get("rehearsed") else review["not_rehearsed"]


def everything(target: Target) -> dict[str, object]:
    return {"writes": writes(target), **{name: target.query(query) for name, query in EVERYTHING.items()}}


def test_a_preview_changes_nothing(one: Target) -> None:
    before = everything(one)
    shown = preview(one)
    assert set(shown["statements"]) == {f"upgrade {TWO}", f"upgrade {THREE}"}
    assert everything(one) == before


@pytest.mark.few(1)
@pytest.mark.parametrize("revision", [TWO, THREE])
def test_a_preview_that_rehearses_changes_nothing(one: Target, admin_url: str, no_pg_dump: str, revision: str) -> None:
    """The first revision writes. The second tries to create a role, which ends its rehearsal."""
    before = everything(one)
    reason = how(preview(one, revision, admin_url))
    assert everything(one) == before
    shared = "it changes what all databases of the server have in common, roles or databases"
    assert reason == (no_pg_dump or {TWO: "", THREE: shared}[revision])


def test_a_preview_waits_for_no_lock_of_a_table(one: Target) -> None:
    with ThreadPoolExecutor() as pool, blocker(one, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        assert "statements" in pool.submit(preview, one).result(LONGEST)


def test_who_wants_a_table_gets_it_while_a_preview_runs(one: Target) -> None:
    """A preview counts rows under a reader's lock, for at most 40 ms, and then releases the lock."""
    with ThreadPoolExecutor() as pool, connect(one.url) as session:
        shown = pool.submit(preview, one)
        locked = 0
        while not shown.done():
            session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
            session.rollback()
            locked += 1
        assert locked > 1 and "statements" in shown.result()


def test_a_preview_that_rehearses_waits_for_no_lock_of_a_table(one: Target, admin_url: str, no_pg_dump: str) -> None:
    with ThreadPoolExecutor() as pool, blocker(one, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"):
        shown = pool.submit(preview, one, TWO, admin_url).result(LONGEST)
    assert how(shown).startswith(no_pg_dump or "a lock was in the way of the copy of the schema: pid ")


@pytest.mark.full
def test_who_waits_for_a_preview_that_rehearses_ends_its_dump(one: Target, admin_url: str, no_pg_dump: str) -> None:
    """While previews run, a session takes the strongest lock again and again, without a time limit."""
    stop = threading.Event()

    def lock() -> int:
        locked = 0
        with connect(one.url) as session:
            while not stop.is_set():
                session.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
                session.rollback()
                locked += 1
        return locked

    with ThreadPoolExecutor() as pool:
        locking = pool.submit(lock)
        try:
            reasons = {how(preview(one, TWO, admin_url)).partition(": pid ")[0] for _ in range(5)}
        finally:
            stop.set()
        assert locking.result(LONGEST)
    waited = {"somebody waited for the copy of the schema", "a lock was in the way of the copy of the schema"}
    assert reasons <= ({no_pg_dump} if no_pg_dump else {"", *waited})
