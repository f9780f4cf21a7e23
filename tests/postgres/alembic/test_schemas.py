"""Tenants with a schema each in one database: one resource, a version table, ledger rows and a lock for each."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.database.connection import NoSchema, connect, open_session
from pulumi_alembic.database.migration_lock import KEY
from pulumi_alembic.database.tenant import in_schema, lock_key, version_table
from pulumi_alembic.errors import DatabaseError, NotApproved, RevisionFailed
from pulumi_alembic.fanout.worker_pool.pool import WorkerPool
from pulumi_alembic.ledger import integrity, ledger, records
from pulumi_alembic.scripts.history import History
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target, write_for_tenants
from tests.postgres.alembic.owner import connect as as_owner
from tests.postgres.alembic.stack import Refused, Stack
from tests.postgres.alembic.test_contracts import contract
from tests.postgres.alembic.waiting import until

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"


@dataclass
class Shops:
    """Schemas of one database, all at base, and the resource that migrates them."""

    database: Database
    target: Target
    names: list[str]
    stack: Stack = field(init=False)

    def __post_init__(self) -> None:
        self.stack = Stack(self.target.url)
        for name in self.names:
            self.add(name)

    def add(self, name: str) -> None:
        """Create a schema that the owner of the migration tables owns."""
        owner = sql.Identifier(f"{self.database.name}_owner")
        with self.database.connect() as admin:
            admin.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}").format(sql.Identifier(name), owner))

    def at(self, name: str) -> Target:
        """Return a tenant as a target."""
        return replace(self.target, url=in_schema(self.target.url, name))

    def run(self, statement: str) -> None:
        """Run one statement as the owner."""
        with as_owner(self.target.url) as session:
            session.execute(statement.encode())
            session.commit()

    def up(self, target: str = TWO, **settings: Any) -> bool:
        return self.stack.up(self.target.directory, target, **({"schemas": list(self.names)} | settings))

    def preview(self, target: str = TWO, **settings: Any) -> dict[str, Any]:
        return self.stack.preview(self.target.directory, target, **({"schemas": list(self.names)} | settings))

    @property
    def revisions(self) -> list[str]:
        """Return the revision that each tenant's own table names."""
        return [self._revision(name) for name in self.names]

    def _revision(self, name: str) -> str:
        table = sql.Identifier("migrations", version_table(name)).as_string(None)
        [(there,)] = self.target.query(f"SELECT to_regclass('{table}') IS NOT NULL")
        rows = self.target.query(f"SELECT version_num FROM {table}") if there else []
        return "+".join(sorted(str(row[0]) for row in rows)) or "base"

    @property
    def tables(self) -> list[str]:
        """Return the tables of all schemas but those of the migrations."""
        rows = self.target.query(
            "SELECT schemaname || '.' || tablename FROM pg_tables"
            " WHERE schemaname !~ '^(pg_|information|migrations|kept)' ORDER BY 1"
        )
        return [str(name) for (name,) in rows]


@pytest.fixture
def shops(database: Database, empty_target: Target) -> Shops:
    """Three tenants, and two revisions. The second fails in a schema with a table `broken`."""
    write_for_tenants(empty_target, ONE, TWO)
    return Shops(database, empty_target, ["shop_a", "shop_b", "Shop, the 3rd"])


def test_each_schema_is_migrated_and_has_its_own_version_and_ledger_rows(shops: Shops, said: list[str]) -> None:
    assert shops.preview()["plan"] == f"3 schemas: base → {TWO}"
    [text] = said
    assert f"3 schemas (shop_a, shop_b, Shop, the 3rd): base → {TWO}, 2 upgrades" in text and "seen in shop_a" in text
    assert shops.up()
    assert shops.revisions == [TWO] * 3
    assert shops.tables == [f"{name}.{table}" for name in sorted(shops.names) for table in ("one", "two")]
    rows = shops.target.query(
        "SELECT tenant, revision, stack FROM migrations.ledger WHERE event = 'applied' ORDER BY tenant, id"
    )
    assert rows == [(name, id, "dev") for name in sorted(shops.names) for id in (ONE, TWO)]
    assert (shops.stack.outputs["revision"], shops.stack.outputs["revisions"]) == (TWO, {TWO: 3})
    assert shops.preview()["plan"] == f"at {TWO}: nothing pending"
    assert not shops.up()
    # Nothing of the migrations is in a tenant's schema, and the database itself is at base.
    assert shops.target.query("SELECT to_regclass('migrations.alembic_version')") == [(None,)]
    with connect(shops.target.url) as session:
        assert records.read(session, None) == ([], 0) and not ledger.ran(session)


@pytest.mark.full
def test_a_new_tenant_and_one_behind_are_shown_apart_and_brought_up(shops: Shops) -> None:
    shops.at("shop_b").migrate(ONE)
    assert shops.preview()["plan"] == f"2 schemas: base → {TWO}; 1: {ONE} → {TWO}"
    shops.up()
    shops.names.append("shop_d")
    shops.add("shop_d")
    assert shops.preview()["plan"] == f"1 schema: base → {TWO}; 3: already there"
    assert shops.up() and shops.revisions == [TWO] * 4


@pytest.mark.full
def test_a_downgrade_takes_all_tenants_back(shops: Shops) -> None:
    shops.up()
    assert shops.preview(ONE)["plan"] == f"3 schemas: {TWO} → {ONE}"
    assert shops.up(ONE)
    assert shops.revisions == [ONE] * 3 and shops.tables == [f"{name}.one" for name in sorted(shops.names)]


def test_a_failed_tenant_ends_the_waves_and_the_next_update_goes_on(shops: Shops) -> None:
    shops.run("CREATE TABLE shop_b.broken ()")
    with pytest.raises(HalfDone) as failed:
        shops.up()
    text = str(failed.value)
    assert text.startswith("wave 2 of 2, 2 schemas: 1 schema failed") and f"shop_b: revision {TWO} failed" in text
    assert "it continues with the schemas that are left" in text
    assert shops.revisions == [TWO, ONE, TWO]
    assert shops.stack.outputs["revisions"] == {TWO: 2, ONE: 1} and list(shops.stack.outputs["failures"]) == ["shop_b"]
    shops.run("DROP TABLE shop_b.broken")
    assert shops.up() and shops.revisions == [TWO] * 3
    assert shops.stack.outputs["failures"] == {}


@pytest.mark.full
def test_waves_that_go_on_after_an_error_run_all_and_then_fail(shops: Shops, said: list[str]) -> None:
    shops.run("CREATE TABLE shop_a.broken ()")
    with pytest.raises(HalfDone) as failed:
        shops.up(waves={"on_error": "continue"})
    assert str(failed.value).startswith("all 2 waves, 3 schemas: 1 schema failed\n")
    assert shops.revisions == [ONE, TWO, TWO]
    assert list(shops.stack.outputs["failures"]) == ["shop_a"]


def test_a_missing_schema_stops_all_before_the_first(shops: Shops) -> None:
    shops.names.append("shop_x")
    with pytest.raises(Refused) as refused:
        shops.up()
    text = str(refused.value)
    assert text.startswith("1 schema of 4 cannot be migrated, and nothing was changed:")
    assert 'there is no schema "shop_x". As an admin: CREATE SCHEMA "shop_x" AUTHORIZATION ' in text
    assert "Fix these schemas, or remove them from the list" in text
    assert shops.tables == []


@pytest.mark.full
def test_a_schema_without_rights_is_refused_with_the_grant(shops: Shops, database: Database) -> None:
    with database.connect() as admin:
        admin.execute("CREATE SCHEMA foreign_one")
    shops.names = ["foreign_one"]
    with pytest.raises(Refused, match=r'cannot use the schema "foreign_one". As its owner: GRANT USAGE, CREATE ON'):
        shops.up()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("CREATE TABLE app.three (id int)", "names the schema app"),
        ("DO $$ BEGIN PERFORM count(*) FROM app.t; END $$", "names the schema app"),
    ],
)
def test_a_script_that_names_a_schema_is_refused_before_anything_runs(
    shops: Shops, statement: str, reason: str
) -> None:
    shops.target.write(THREE, TWO, f"op.execute({statement!r})")
    for action in (shops.preview, shops.up):
        with pytest.raises(Refused, match=f"versions/{THREE}_script.py: upgrade {reason}"):
            action(THREE)
    assert shops.revisions == ["base"] * 3


@pytest.mark.full
def test_a_statement_that_only_the_run_shows_is_refused_and_rolled_back(shops: Shops) -> None:
    shops.target.write(
        THREE,
        TWO,
        "op.execute('CREATE TABLE three (id int)')\n"
        "    query = \"SELECT nspname FROM pg_namespace WHERE nspname = 'app'\"\n"
        "    name = op.get_bind().exec_driver_sql(query).scalar()\n"
        "    op.execute(f'CREATE TABLE {name}.three (id int)')",
    )
    with pytest.raises(HalfDone, match="it names the schema app"):
        shops.up(THREE)
    assert shops.revisions == [TWO, "base", "base"] and "app.three" not in shops.tables


@pytest.mark.full
def test_the_search_path_is_the_tenants_for_each_script_and_only_there(shops: Shops) -> None:
    shops.target.write(
        THREE,
        TWO,
        "op.execute(\"CREATE TABLE three AS SELECT current_setting('search_path') AS path, current_schema() AS now\")",
    )
    shops.up(THREE, shared_schemas=["public"])
    assert shops.target.query("SELECT path, now FROM shop_b.three") == [('"shop_b","public"', "shop_b")]
    [quoted] = shops.target.query('SELECT now FROM "Shop, the 3rd".three')
    assert quoted == ("Shop, the 3rd",)
    with connect(in_schema(shops.target.url, "shop_a")) as own:
        assert own.execute("SHOW search_path").fetchone() == ("pg_catalog,pg_temp",)


def test_a_tenants_run_and_one_of_the_database_exclude_each_other(shops: Shops) -> None:
    """An older tool knows only the database's key."""
    with psycopg.connect(shops.target.url, autocommit=True) as older:
        older.execute("SELECT pg_advisory_lock(%s)", [KEY])
        with pytest.raises(DatabaseError, match=r"another migration is running, pid \d+"):
            shops.at("shop_a").migrate(ONE, policy=_hasty())
        older.execute("SELECT pg_advisory_unlock(%s)", [KEY])
        shops.at("shop_a").migrate(ONE)
        older.execute("SELECT pg_advisory_lock(%s)", [lock_key("shop_a")])
        with pytest.raises(DatabaseError, match=r"another migration is running, pid \d+"):
            shops.at("shop_a").migrate(TWO, policy=_hasty())
        assert shops.at("shop_b").migrate(ONE) == ONE


@pytest.mark.full
def test_tenants_do_not_wait_for_each_other(shops: Shops) -> None:
    """Both runs are inside their second revision at the same time."""
    both = threading.Barrier(2, timeout=20)
    shops.target.write(TWO, ONE, "op.execute('CREATE TABLE two (id int)')")
    results: list[str] = []

    def run(name: str) -> None:
        target = shops.at(name)
        results.append(target.migrate(TWO, approve=lambda plan: both.wait() and {}))

    threads = [threading.Thread(target=run, args=[name]) for name in ("shop_a", "shop_b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [TWO, TWO]


@pytest.mark.full
def test_while_a_tenant_migrates_the_database_itself_waits(shops: Shops) -> None:
    seen: list[tuple[object, ...]] = []

    def look(plan: object) -> dict[str, Any]:
        seen.extend(shops.target.query(f"SELECT pg_try_advisory_lock({KEY})"))
        return {}

    shops.at("shop_a").migrate(ONE, approve=look)
    assert seen == [(False,)]
    assert shops.target.query(f"SELECT pg_try_advisory_lock({KEY})") == [(True,)]


def test_the_first_tenant_adds_the_column_to_an_old_ledger(shops: Shops) -> None:
    shops.target.migrate(TWO)
    assert "tenant" not in columns(shops)
    assert shops.up()
    assert "tenant" in columns(shops)
    rows = shops.target.query(
        "SELECT tenant, count(*) FROM migrations.ledger WHERE event = 'applied' GROUP BY 1 ORDER BY 1"
    )
    assert rows == [("Shop, the 3rd", 2), ("shop_a", 2), ("shop_b", 2), (None, 2)]
    # An older release names the columns that it knows, when it reads and when it writes.
    shops.run(
        "INSERT INTO migrations.ledger (revision, direction, down_revisions, checksum, source, tools, event)"
        " SELECT revision, 'downgrade', down_revisions, checksum, source, tools, event FROM migrations.ledger LIMIT 1"
    )
    assert shops.target.query("SELECT count(*) FROM migrations.ledger WHERE tenant IS NULL") == [(3,)]
    shops.target.migrate("base")
    assert shops.revisions == [TWO] * 3


def columns(shops: Shops) -> set[str]:
    return {
        str(name)
        for (name,) in shops.target.query(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'migrations.ledger'::regclass AND attnum > 0"
        )
    }


@pytest.mark.full
def test_an_edited_script_is_named_for_the_tenants_that_ran_it(shops: Shops) -> None:
    shops.at("shop_a").migrate(ONE)
    shops.target.write(ONE, None, "op.execute('CREATE TABLE one (id bigint)')", "op.execute('DROP TABLE one')")
    with pytest.raises(Refused, match=r"(?s)1 schema of 3 cannot be migrated.*shop_a: .*was edited since"):
        shops.up()


@pytest.mark.full
def test_tenants_that_are_alike_are_read_together(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    run = WorkerPool.run

    def counting(pool: WorkerPool, task: str, items: Any, *more: Any, **named: Any) -> Any:
        if task in ("look", "read"):
            looks.append(len(items))
        return run(pool, task, items, *more, **named)

    monkeypatch.setattr(WorkerPool, "run", counting)
    shops.preview()
    # An empty schema can be a new one of an old name, so each is looked at.
    assert looks == [3]
    shops.up()
    looks.clear()
    assert shops.preview()["plan"] == f"at {TWO}: nothing pending"
    shops.stack.refresh()
    assert looks == [1, 1] and shops.stack.outputs["revisions"] == {TWO: 3}
    shops.at("shop_b").migrate(ONE)
    looks.clear()
    assert shops.preview()["plan"] == f"1 schema: {ONE} → {TWO}; 2: already there"
    assert looks == [2]


@pytest.mark.full
def test_tenants_at_one_revision_by_different_scripts_are_not_alike(shops: Shops) -> None:
    shops.at("shop_a").migrate(ONE)
    shops.target.write(ONE, None, "op.execute('CREATE TABLE one (id bigint)')", "op.execute('DROP TABLE one')")
    shops.at("shop_b").migrate(ONE)
    shops.names = ["shop_b", "shop_a"]
    with pytest.raises(Refused, match=r"(?s)1 schema of 2 cannot be migrated.*shop_a: .*was edited since"):
        shops.preview()


@pytest.mark.full
def test_a_refresh_reads_all_tenants_and_counts_those_that_are_gone(shops: Shops, said: list[str]) -> None:
    shops.up()
    shops.at("shop_b").migrate(ONE)
    shops.stack.refresh()
    assert shops.stack.outputs["revisions"] == {TWO: 2, ONE: 1}
    shops.run("DROP SCHEMA shop_b CASCADE")
    said.clear()
    shops.stack.refresh()
    assert said == ["1 schema of 3 are not there any more"]
    assert shops.stack.outputs["revisions"] == {TWO: 2}


@pytest.mark.full
def test_a_schema_that_was_created_again_is_not_taken_for_the_old_one(shops: Shops) -> None:
    shops.up()
    shops.run("DROP SCHEMA shop_b CASCADE")
    shops.add("shop_b")
    with pytest.raises(Refused, match=rf'the schema "shop_b" is empty, though {TWO} is applied') as refused:
        shops.preview()
    [advice] = re.findall(r"begin at base: (.*)", str(refused.value))
    shops.run(advice)
    assert shops.preview()["plan"] == f"1 schema: base → {TWO}; 2: already there"
    assert shops.up() and shops.revisions == [TWO] * 3
    # A schema that a downgrade has emptied is no new one.
    shops.up("base")
    assert shops.preview("base")["plan"] == "at base: nothing pending"


@pytest.mark.full
def test_preserved_rows_of_a_downgrade_return_to_their_own_tenant(shops: Shops) -> None:
    shops.add("kept")
    shops.up()
    shops.run("INSERT INTO shop_a.two VALUES (1); INSERT INTO shop_b.two VALUES (2), (3)")
    shops.up(ONE)
    assert shops.tables == [f"{name}.one" for name in sorted(shops.names)]
    shops.up(TWO)
    assert shops.target.query("SELECT id FROM shop_a.two") == [(1,)]
    assert shops.target.query("SELECT id FROM shop_b.two ORDER BY 1") == [(2,), (3,)]
    assert shops.target.query('SELECT id FROM "Shop, the 3rd".two') == []


@pytest.mark.full
def test_a_query_lists_the_tenants(shops: Shops) -> None:
    query = "SELECT nspname FROM pg_namespace WHERE nspname ILIKE 'shop%' ORDER BY 1"
    shops.stack.up(shops.target.directory, TWO, schemas="", query=query)
    assert shops.revisions == [TWO] * 3
    assert shops.stack.outputs["schemas"].startswith("3 schemas, v1:")


@pytest.mark.full
def test_a_name_of_63_bytes_has_its_own_table(shops: Shops) -> None:
    shops.names = ["s" * 63, "s" * 62]
    for name in shops.names:
        shops.add(name)
    shops.up()
    assert shops.revisions == [TWO, TWO]


def test_a_session_of_a_missing_tenant_is_refused(shops: Shops) -> None:
    with pytest.raises(NoSchema, match="there is no schema"):
        open_session(in_schema(shops.target.url, "nobody"))


def test_a_pooler_that_drops_the_tenant_is_refused(shops: Shops, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option, the server would run the script in the login's own schema."""
    monkeypatch.setattr("pulumi_alembic.database.connection.schema_of", lambda connection: "shop_a")
    with pytest.raises(DatabaseError, match="a pooler drops the options"), connect(shops.target.url):
        pass


@pytest.mark.full
def test_a_failure_is_recorded_for_its_tenant(shops: Shops) -> None:
    shops.run("CREATE TABLE shop_b.broken ()")
    with pytest.raises(RevisionFailed):
        shops.at("shop_b").migrate(TWO)
    rows = shops.target.query("SELECT tenant, event FROM migrations.ledger ORDER BY id")
    assert rows == [("shop_b", "applied"), ("shop_b", "failed")]


@pytest.mark.full
def test_a_statement_outside_a_transaction_runs_for_each_tenant(shops: Shops) -> None:
    shops.target.write(
        THREE,
        TWO,
        "with op.get_context().autocommit_block():\n        op.execute('CREATE INDEX CONCURRENTLY one_id ON one (id)')",
        "op.execute('DROP INDEX one_id')",
    )
    shops.up(THREE)
    rows = shops.target.query("SELECT schemaname FROM pg_indexes WHERE indexname = 'one_id' ORDER BY 1")
    assert rows == [(name,) for name in sorted(shops.names)]
    until(lambda: shops.revisions == [THREE] * 3)


@pytest.mark.full
def test_tenants_at_different_phases_are_groups_of_their_own(shops: Shops) -> None:
    """A contract runs where its time has come."""
    contract(shops.target, THREE, TWO, "op.execute('DROP TABLE one')", "op.execute('CREATE TABLE one (id int)')")
    older, newer, empty = shops.names
    for name in (older, newer):
        shops.at(name).migrate(TWO)
    applied_a_day_earlier(shops, older)
    shown = shops.preview(THREE, contract="24h")
    assert shown["held"].keys() == {THREE}
    assert shown["plan"] == f"1 schema: {TWO} → {THREE}; 1: base → {TWO}; 1: at {TWO} with 1 revision held"
    assert shops.up(THREE, contract="24h")
    assert shops.revisions == [THREE, TWO, TWO]
    applied_a_day_earlier(shops, empty)
    assert shops.up(THREE, contract="24h")
    assert shops.revisions == [THREE, TWO, THREE]


def applied_a_day_earlier(shops: Shops, name: str) -> None:
    """Set the time of the second revision back for one tenant, which only the ledger's owner can do."""
    shops.run(
        "ALTER TABLE migrations.ledger DISABLE TRIGGER append_only; GRANT UPDATE ON migrations.ledger TO CURRENT_USER;"
        f"UPDATE migrations.ledger SET applied_at = applied_at - interval '25 hours' WHERE tenant = '{name}'"
    )


@pytest.mark.full
def test_only_what_was_approved_runs_in_exactly_those_tenants(shops: Shops) -> None:
    approval = {"require_approval": True}
    digest = shops.preview(**approval)["digest"]
    with pytest.raises(NotApproved):
        shops.up(**approval)
    shops.names.append("shop_d")
    shops.add("shop_d")
    with pytest.raises(NotApproved):
        shops.up(**approval, __approved=digest)
    assert shops.revisions == ["base"] * 4
    assert shops.up(**approval, __approved=shops.preview(**approval)["digest"])
    assert shops.revisions == [TWO] * 4


@pytest.mark.full
def test_a_killed_worker_is_a_failed_tenant_and_the_next_update_goes_on(shops: Shops) -> None:
    shops.target.write(
        THREE,
        TWO,
        "op.execute('CREATE TABLE three (id int)')\n"
        "    if op.get_bind().exec_driver_sql('SELECT current_schema()').scalar() == 'shop_b':\n"
        "        import os; os.kill(os.getpid(), 9)",
    )
    with pytest.raises(HalfDone) as failed:
        shops.up(THREE, waves={"wave": 2, "parallel": 2})
    assert "shop_b: the process that worked on it was ended by signal 9" in str(failed.value)
    assert shops.revisions == [THREE, TWO, THREE]
    shops.target.write(THREE, TWO, "op.execute('CREATE TABLE three (id int)')")
    # The others ran the script as it was, so that it is no edit only for the one that did not.
    for name in ("shop_a", "Shop, the 3rd"):
        with connect(shops.at(name).url) as session:
            history = History.load(shops.target.directory)
            assert integrity.accept(session, history, [THREE], THREE, "a test")
            session.commit()
    assert shops.up(THREE) and shops.revisions == [THREE] * 3
    rows = shops.target.query("SELECT tenant, count(*) FROM migrations.ledger WHERE event = 'applied' GROUP BY 1")
    assert sorted(rows, key=str) == sorted([(name, 3) for name in shops.names], key=str)


def _hasty() -> Any:
    from pulumi_alembic.policy import Policy

    return Policy.parse({"migration_wait": "300ms"})
