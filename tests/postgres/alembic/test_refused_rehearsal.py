"""A plan that the server refuses in its rehearsal does not run. A failure for lack of rows is a warning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import RehearsalFailed
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review.gates import SKIP_REHEARSAL, errors_of
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.review.plan_text import summary
from pulumi_alembic.stack.log import Log
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.tenants import tenants_of

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

provider = MigrationsProvider()

REFUSED = {
    "42P01, a table that is not there": "ALTER TABLE taskz ADD COLUMN q int",
    "42601, no SQL": "ALTER TABEL t ADD q int",
    "2BP01, others depend on it": "DROP TABLE parent",
    "3F000, a schema that is not there": "CREATE TABLE nowhere.t ()",
    "22012, and reads no table": "SELECT 1 / 0",
    "22P02, of its own value": "INSERT INTO t VALUES (1, 1, 'x'::text::int)",
    "P0001, and reads no table": "DO $$BEGIN RAISE EXCEPTION 'no'; END$$",
    "23502, of its own value": "INSERT INTO t (id) VALUES (NULL)",
}
"""Statements that the server refuses on the target too, whatever its rows are, by reason."""

DOUBTFUL = {
    "23503, a row that is missing": "op.execute('INSERT INTO t (id, parent) VALUES (1, 1)')",
    "21000 of a subquery": "op.execute('SELECT 1 / (SELECT count(*) FROM parent)')",
    "P0001, and reads a table": (
        "op.execute(\"DO $$BEGIN IF NOT EXISTS (SELECT FROM parent) THEN RAISE EXCEPTION 'no'; END IF; END$$\")"
    ),
    "Python": "op.get_bind().execute(sa.text('SELECT id FROM parent')).one()",
}


@pytest.fixture
def admin(server: Server) -> str:
    with Database(server, "postgres").connect() as connection:
        if find_client(connection.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


@pytest.fixture
def one(empty_target: Target) -> Target:
    """A database at a revision with a table that has a row, and a table that refers to it."""
    empty_target.write(
        ONE,
        None,
        "op.execute('CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent VALUES (1)')\n"
        "    op.execute('CREATE TABLE t (id int NOT NULL, parent int REFERENCES parent, n int)')",
        "op.execute('DROP TABLE t, parent')",
    )
    empty_target.migrate(ONE)
    return empty_target


def write(target: Target, body: str, downgrade: str = "pass") -> None:
    """Write a revision that succeeds, and after it one with this body."""
    target.write(TWO, ONE, "op.execute('ALTER TABLE t ADD z int')", "op.execute('ALTER TABLE t DROP z')")
    path = target.write(THREE, TWO, body, downgrade)
    path.write_text("import sqlalchemy as sa\n" + path.read_text().partition("\n")[2])


def asked(target: Target, admin: str, **more: Any) -> dict[str, Any]:
    return {
        "url": target.url, "directory": str(target.directory), "target": THREE, "__urn": "urn",
        "__rehearse_with": admin, **more,
    }  # fmt: skip


def review_of(answer: Any) -> PlanReview:
    import json

    return PlanReview.from_json(json.loads(answer.inputs["__plan"]))


@contextmanager
def untouched(target: Target) -> Iterator[None]:
    """Assert that the block leaves database and ledger unchanged."""
    what = (
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'app'::regnamespace ORDER BY 1",
        "SELECT attname FROM pg_attribute WHERE attrelid = 'app.t'::regclass ORDER BY 1",
        "SELECT id, event, revision FROM migrations.ledger ORDER BY 1",
        "SELECT * FROM migrations.alembic_version",
    )
    before = [target.query(each) for each in what]
    yield
    assert [target.query(each) for each in what] == before


@pytest.mark.few(1)
@pytest.mark.parametrize("case", REFUSED)
def test_what_the_server_refuses_stops_preview_and_update(case: str, one: Target, admin: str) -> None:
    write(one, f"op.execute({REFUSED[case]!r})")
    for more in ({}, {"__applying": True}):
        with untouched(one):
            answer = provider.check({}, asked(one, admin, **more))
        [failure] = answer.failures
        assert f"revision {THREE} fails on upgrade in the rehearsal, and nothing was changed" in failure.reason
        assert case[:5] in failure.reason
        assert f"{SKIP_REHEARSAL}='why it can succeed' pulumi up" in failure.reason


@pytest.mark.few(1)
@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_may_come_from_empty_tables_is_a_warning(
    case: str, one: Target, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The preview says so, and the update runs if the rows exist."""
    write(one, DOUBTFUL[case])
    answer = provider.check({}, asked(one, admin))
    assert answer.failures == []
    review = review_of(answer)
    said = "\n".join(summary(review))
    assert "warning   fails in the rehearsal" in said
    assert "no table has rows there, so it can succeed on the target" in said
    assert "Rehearsed in a scratch database (its tables are empty): 1 of 2 revisions applied" in said
    told: list[str] = []
    monkeypatch.setattr(Log, "info", lambda self, text: told.append(text))
    planned = provider.check({}, asked(one, admin, **{"__applying": True}))
    assert planned.failures == []
    outs = provider.create(planned.inputs).outs
    assert outs is not None and outs["revision"] == THREE
    # The update has rehearsed, and so does not report that it has not.
    assert any("1 of 2 revisions applied" in text for text in told), told
    assert not any("not rehearsed" in text for text in told)


def test_a_reason_overrides_it_once_and_the_ledger_keeps_it(
    one: Target, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user creates the table on the target that the rehearsal lacked."""
    write(one, "op.execute('ALTER TABLE taskz ADD COLUMN q int')")
    monkeypatch.setenv(SKIP_REHEARSAL, "the table is made by hand, ticket 4711")
    planned = provider.check({}, asked(one, admin, **{"__applying": True}))
    assert planned.failures == []
    with connect(one.url) as session:
        session.execute("CREATE TABLE taskz ()")
        session.commit()
    outs = provider.create(planned.inputs).outs
    assert outs is not None and outs["revision"] == THREE
    kept = one.query(
        "SELECT detail -> 'rehearsal_skipped' ->> 'reason' FROM migrations.ledger "
        "WHERE revision = '20250103_003' AND event = 'applied'"
    )
    assert kept == [("the table is made by hand, ticket 4711",)]


def test_a_reason_that_says_nothing_is_none(one: Target, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(one, "op.execute('ALTER TABLE taskz ADD COLUMN q int')")
    monkeypatch.setenv(SKIP_REHEARSAL, "1")
    [failure] = provider.check({}, asked(one, admin)).failures
    assert "say it in words" in failure.reason


def test_of_many_databases_none_is_touched(one: Target, database: Database, admin: str) -> None:
    write(one, "op.execute('ALTER TABLE taskz ADD COLUMN q int')")
    with tenants_of(database, one, 2) as tenants:
        many = asked(one, admin, databases=tenants.names)
        [failure] = provider.check({}, many).failures
        assert f"revision {THREE} fails on upgrade in the rehearsal" in failure.reason
        planned = provider.check({}, {**many, "__applying": True})
        assert planned.failures == []
        with pytest.raises(RehearsalFailed, match="nothing was changed"):
            provider.create({**planned.inputs, "__rehearse_with": admin})
        assert tenants.revisions == [ONE, ONE]


def test_a_downgrade_that_the_server_refuses_is_refused(one: Target, admin: str) -> None:
    write(one, "op.execute('CREATE TABLE later ()')", "op.execute('DROP TABLE earlier')")
    one.migrate(THREE)
    for more in ({}, {"__applying": True}):
        with untouched(one):
            [failure] = provider.check({}, asked(one, admin, **more) | {"target": ONE}).failures
        assert f"revision {THREE} fails on downgrade in the rehearsal" in failure.reason


ENUM = "op.create_table('tagged', sa.Column('kind', sa.Enum('a', 'b', name='kind')))"


@pytest.mark.parametrize("allowed", [False, True])
def test_a_downgrade_that_leaves_something_is_a_finding(one: Target, admin: str, allowed: bool) -> None:
    """The type stays, so the second upgrade would fail. On production this stops the update."""
    write(one, ENUM, "op.drop_table('tagged')")
    if allowed:
        path = next(one.directory.glob(f"versions/{THREE}*"))
        path.write_text(path.read_text() + "# lint: allow irreversible-downgrade: the type is shared\n")
    answer = provider.check({}, asked(one, admin, __production=True))
    assert answer.failures == []
    review = review_of(answer)
    [found] = [each for _, each in errors_of(review) if each.rule == "irreversible-downgrade"] or [None]
    said = "\n".join(summary(review))
    assert "error     irreversible-downgrade: in the rehearsal downgrade() leaves type app.kind" in said
    if allowed:
        assert found is None
        assert "unused-excuse" not in said
        return
    assert found is not None
    planned = provider.check({}, asked(one, admin, **{"__applying": True, "__production": True}))
    with untouched(one), pytest.raises(Exception, match="irreversible-downgrade: in the rehearsal"):
        provider.create(planned.inputs)
