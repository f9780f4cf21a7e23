"""Data that a downgrade drops is preserved, and the next upgrade over the same revision restores it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.errors import DataLoss, RevisionFailed
from pulumi_alembic.ledger import records as history
from pulumi_alembic.migrate.data_loss import restore
from pulumi_alembic.migrate.data_loss.preserved_table import read
from pulumi_alembic.migrate.planner import read_revision
from pulumi_alembic.policy import Policy
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.review.plan_text import summary
from tests.conftest import ALL, Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
ROWS = 10_000 if ALL else 2_000

FIRST = """
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE DOMAIN short AS varchar(20) CHECK (VALUE <> '');
CREATE TYPE place AS (x int, named text);
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.note := ''touched''; RETURN NEW; END';
CREATE TABLE people (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, boss int REFERENCES people, name short NOT NULL,
    upper_name text GENERATED ALWAYS AS (upper(name::text)) STORED, feels mood NOT NULL, felt mood[], at place,
    extra jsonb, numbers int[] NOT NULL, note text
);
CREATE TRIGGER touches BEFORE INSERT ON people FOR EACH ROW EXECUTE FUNCTION touched();
CREATE TABLE plain (
    id serial PRIMARY KEY, person int NOT NULL REFERENCES people ON DELETE CASCADE, amount numeric(10, 2) NOT NULL,
    ratio double precision, made timestamptz NOT NULL DEFAULT now(), key uuid UNIQUE DEFAULT gen_random_uuid(),
    raw bytea, CHECK (amount >= 0)
);
CREATE INDEX ON plain (lower(key::text)) WHERE amount > 5;
CREATE VIEW amounts AS SELECT person, sum(amount) AS amount FROM plain GROUP BY 1;
CREATE TABLE events (id bigint, day int NOT NULL, what jsonb, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (5);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (5) TO (10) PARTITION BY LIST (id);
CREATE TABLE events_2_rest PARTITION OF events_2 DEFAULT;
CREATE TABLE domains (name short PRIMARY KEY, person int REFERENCES people)
"""
SECOND = """
ALTER TABLE plain ADD COLUMN state mood NOT NULL;
ALTER TABLE people ADD COLUMN color text, ADD COLUMN size int DEFAULT 5;
CREATE TABLE notes (id int PRIMARY KEY, plain int NOT NULL REFERENCES plain, body text NOT NULL)
"""
FILL = f"""
ALTER TABLE people DISABLE TRIGGER touches;
INSERT INTO people (boss, name, feels, felt, at, extra, numbers, note, color, size)
SELECT CASE WHEN n < {ROWS} THEN n + 1 END, 'name ' || n, (ARRAY['well', 'ill']::mood[])[1 + n % 2],
    ARRAY['ill', 'well']::mood[], CASE WHEN n % 3 = 0 THEN ROW(n, 'a "b", (c)')::place END,
    jsonb_build_object('n', n, 'at', 1.5 / n), ARRAY[n, NULL, 3], 'note ' || n,
    CASE WHEN n % 2 = 0 THEN 'blue' END, n
FROM generate_series(1, {ROWS}) n;
ALTER TABLE people ENABLE TRIGGER touches;
INSERT INTO plain (person, amount, ratio, made, raw, state)
SELECT n, n / 7.0, 1 / n::float, '2026-01-01 00:00:00.123456Z'::timestamptz + n * interval '1.7 h',
    decode(md5(n::text), 'hex'), (ARRAY['well', 'ill']::mood[])[1 + n % 2]
FROM generate_series(1, {ROWS}) n;
INSERT INTO events SELECT n, n % 10, to_jsonb(n) FROM generate_series(1, {ROWS}) n;
INSERT INTO domains SELECT 'd' || n, n FROM generate_series(1, {ROWS}) n;
INSERT INTO notes SELECT n, n, repeat('x', n % 100) FROM generate_series(1, {ROWS}) n;
"""
DOWN_TWO = (
    "DROP TABLE notes; ALTER TABLE people DROP COLUMN color, DROP COLUMN size; ALTER TABLE plain DROP COLUMN state"
)
DOWN_ONE = (
    "DROP VIEW amounts", "DROP TABLE IF EXISTS domains", "DROP TABLE events", "DROP TABLE plain", "DROP TABLE people",
    "DROP FUNCTION touched()", "DROP TYPE place", "DROP TYPE mood", "DROP DOMAIN short",
)  # fmt: skip
TABLES = ("people", "plain", "events", "domains", "notes")


def executes(*statements: str) -> str:
    return "; ".join(f"op.execute({each!r})" for each in statements)


@pytest.fixture
def keeping(empty_target: Target, database: Database) -> Target:
    """A database with a schema for preserved rows."""
    with database.connect() as admin:
        admin.execute(f'CREATE SCHEMA kept AUTHORIZATION "{database.name}_owner"'.encode())
    return empty_target


@pytest.fixture
def filled(keeping: Target) -> Iterator[Target]:
    """A database at the newest revision, with ten thousand rows in every table."""
    keeping.write(ONE, None, executes(FIRST), executes(*DOWN_ONE))
    keeping.write(TWO, ONE, executes(SECOND), executes(*DOWN_TWO.split("; ")))
    keeping.migrate(TWO)
    with connect(keeping.url) as connection:
        connection.execute(FILL.encode())
        connection.commit()
    yield keeping


def digests(target: Target) -> dict[str, object]:
    """Return a digest of every table's rows, and the positions of the sequences."""
    found: dict[str, object] = {}
    for table in TABLES:
        found[table] = target.query(
            f"SELECT count(*), md5(string_agg(row::text, ' ' ORDER BY row::text COLLATE \"C\")) FROM ("
            f"SELECT to_jsonb(t) AS row FROM {table} t) AS rows"
        )
    found["sequences"] = target.query("SELECT (SELECT last_value FROM people_id_seq), last_value FROM plain_id_seq")
    return found


def kept(target: Target) -> list[Any]:
    with connect(target.url) as connection:
        return read(connection)


def told(target: Target) -> list[str]:
    return sorted(entry.described(entry.rows) for entry in kept(target))


def test_down_to_base_and_up_again_every_row_is_there(filled: Target) -> None:
    before = digests(filled)
    assert before["people"] != before["plain"]
    filled.migrate("base")
    assert filled.query("SELECT relname FROM pg_class WHERE relnamespace = 'app'::regnamespace") == []
    assert filled.query("SELECT typname FROM pg_type WHERE typnamespace = 'app'::regnamespace") == []
    assert told(filled) == sorted(
        [
            f"{ROWS:,} rows of app.domains",
            f"{ROWS:,} rows of app.notes",
            f"{ROWS:,} rows of app.people",
            f"{ROWS:,} rows of app.plain",
            f"{ROWS:,} values of app.plain.state",
            f"{ROWS * 3 // 2:,} values of app.people.color, app.people.size",
            f"{ROWS // 2:,} rows of app.events_1",
            f"{ROWS // 2:,} rows of app.events_2_rest",
        ]
    )
    filled.migrate(TWO)
    assert told(filled) == []
    assert digests(filled) == before
    assert filled.query("SELECT tgenabled FROM pg_trigger WHERE tgname = 'touches'") == [("O",)]


def test_without_keeping_it_refuses_with_exact_counts(filled: Target) -> None:
    before = digests(filled)
    with pytest.raises(RevisionFailed, match=rf"it would delete {ROWS:,} rows of app\.notes\n") as caught:
        filled.migrate("base", policy=Policy(keep_data=False))
    assert "kept" not in str(caught.value)
    assert digests(filled) == before
    assert (read_revision(filled.url), kept(filled)) == (TWO, [])


SMALL = """
CREATE TABLE users (id int PRIMARY KEY, name text);
CREATE TABLE posts (id serial PRIMARY KEY, author int NOT NULL REFERENCES users ON DELETE CASCADE, title varchar(20));
CREATE TABLE bare (n int);
INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 9) n;
INSERT INTO posts (author, title) SELECT n, 't' || n FROM generate_series(1, 9) n;
INSERT INTO bare SELECT generate_series(1, 3);
CREATE VIEW titles AS SELECT title FROM posts;
CREATE FUNCTION empty_bare() RETURNS void LANGUAGE sql AS 'TRUNCATE bare'
"""


@pytest.fixture
def small(keeping: Target) -> Target:
    keeping.write(ONE, None, executes(SMALL), "pass")
    keeping.migrate(ONE)
    return keeping


def step(target: Target, up: str, *down: str) -> None:
    """Write the revision TWO, and bring the database to it."""
    target.write(TWO, ONE, up if "op." in up else executes(up), executes(*down))
    target.migrate(TWO)


MORE = """
CREATE TABLE more (id int PRIMARY KEY, owner int REFERENCES users ON DELETE CASCADE, what text CHECK (what <> 'bad'));
"""
FILL_MORE = "INSERT INTO more SELECT n, n, 'w' || n FROM generate_series(1, 9) n"


def more(target: Target) -> list[tuple[object, ...]]:
    return target.query("SELECT id, owner, what FROM more ORDER BY id")


def write(target: Target, *statements: str) -> None:
    with connect(target.url) as connection:
        for each in statements:
            connection.execute(each.encode())
        connection.commit()


DROPS = {
    "a plain drop": ("DROP TABLE more",),
    "with IF EXISTS and a schema": ("DROP TABLE IF EXISTS app.more, app.nothing",),
    "with what hangs on it": (
        "CREATE VIEW v AS SELECT * FROM more; CREATE VIEW w AS SELECT * FROM v",
        "CREATE TABLE refers (m int REFERENCES more)",
        "DROP TABLE more CASCADE",
        "DROP TABLE refers",
    ),
    "in a block": ("DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'more'; END $$",),
    "among others in one text": ("DROP TABLE more; SELECT 1",),
    "by a function": (
        "CREATE FUNCTION f() RETURNS void LANGUAGE sql AS 'DROP TABLE more'",
        "SELECT f()",
        "DROP FUNCTION f()",
    ),
    "with a function of its row type": (
        "CREATE FUNCTION g(more) RETURNS text LANGUAGE sql AS 'SELECT $1.what'",
        "DROP TABLE more CASCADE",
    ),
    "that others inherit from": ("CREATE TABLE heirs (x int) INHERITS (more)", "DROP TABLE more CASCADE"),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("how", DROPS)
def test_however_a_table_goes_its_rows_come_back(small: Target, how: str) -> None:
    step(small, MORE, *DROPS[how])
    write(small, FILL_MORE)
    before = more(small)
    small.migrate(ONE)
    assert small.query("SELECT relname FROM pg_class WHERE relname IN ('more', 'refers', 'heirs', 'v')") == []
    assert told(small) == ["9 rows of app.more"]
    small.migrate(TWO)
    assert (more(small), kept(small)) == (before, [])


@pytest.mark.few(1)
@pytest.mark.parametrize("how", list(DROPS)[:3])
def test_a_plain_drop_moves_its_table_and_leaves_nothing_that_hangs_on_it(small: Target, how: str) -> None:
    step(small, MORE, *DROPS[how])
    write(small, FILL_MORE)
    small.migrate(ONE)
    [entry] = kept(small)
    assert entry.moved
    write(small, "DELETE FROM users WHERE id = 3", "DROP TABLE users CASCADE")
    assert small.query(f"SELECT count(*) FROM {entry.place}") == [(9,)]


def test_partitions_are_moved_each_and_go_back_through_their_root(small: Target) -> None:
    step(
        small,
        "CREATE TABLE parts (id serial PRIMARY KEY) PARTITION BY RANGE (id);"
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);"
        "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20)",
        "DROP TABLE parts",
    )
    write(small, "INSERT INTO parts SELECT generate_series(0, 14)", "SELECT setval('parts_id_seq', 77)")
    small.migrate(ONE)
    assert [(each.moved, each.into) for each in kept(small)] == [(True, "app.parts")] * 2
    small.migrate(TWO)
    assert small.query("SELECT (SELECT count(*) FROM parts_1), (SELECT count(*) FROM parts_2)") == [(10, 5)]
    assert small.query("SELECT last_value FROM parts_id_seq") == [(77,)]


def test_what_has_no_place_any_more_stays_and_says_why(small: Target) -> None:
    """A row with the same key, a row whose parent is missing and a row that a check refuses stay.

    The others are restored.
    """
    up = executes(MORE) + "\n    import os\n    for each in os.environ.get('SEEDS', '').split(';'):\n"
    up += "        op.execute(each or 'SELECT 1')"
    small.write(TWO, ONE, up, executes("DROP TABLE more"))
    small.migrate(TWO)
    write(small, FILL_MORE)
    small.migrate(ONE)
    # The script has changed since, so the preserved rows must not overwrite what it inserts.
    small.write(TWO, ONE, f"{up} # and more", executes("DROP TABLE more"))
    write(small, "DELETE FROM users WHERE id IN (4, 5)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEEDS", "INSERT INTO more VALUES (1, 1, 'newer');ALTER TABLE more ADD CHECK (what <> 'w7')")
        said: list[str] = []
        small.migrate(TWO, on_kept=said.append)
    assert [row[0] for row in more(small)] == [1, 2, 3, 6, 8, 9]
    assert more(small)[0] == (1, 1, "newer")
    [entry] = kept(small)
    assert entry.why == {
        "what it refers to in app.users is gone (more_owner_fkey)": 2,
        "a row of that id is there": 1,
        "refused by more_what_check1": 1,
    }
    assert entry.rows == 4
    assert said[0] == f"{TWO}: restored 5 rows of app.more"
    assert said[1].startswith(f"{TWO}: still preserved, 4 rows of app.more (2: what it refers to in app.users is gone")
    assert small.query(f"SELECT id FROM {entry.place} ORDER BY 1") == [(1,), (4,), (5,), (7,)]
    write(small, "INSERT INTO users VALUES (4, 'again')", "ALTER TABLE more DROP CONSTRAINT more_what_check1")
    small.migrate(ONE)
    small.migrate(TWO)
    assert [row[0] for row in more(small)] == [1, 2, 3, 4, 6, 7, 8, 9]
    assert [(each.id, each.rows) for each in kept(small)] == [(entry.id, 2)]


def test_rows_that_the_downgrade_carried_over_are_not_there_twice(small: Target) -> None:
    """The downgrade creates the table again under its old name, so the table already contains them."""
    step(
        small,
        "CREATE TABLE IF NOT EXISTS loose (n int); CREATE TABLE IF NOT EXISTS keyed (n int PRIMARY KEY)",
        *(CARRY.format(name) for name in NAMES),
        "ALTER TABLE keyed ADD PRIMARY KEY (n)",
    )
    write(small, *(f"INSERT INTO {name} SELECT generate_series(1, 3)" for name in NAMES))
    small.migrate(ONE)
    small.alembic("upgrade", "head")
    assert small.query("SELECT (SELECT count(*) FROM loose), (SELECT count(*) FROM keyed)") == [(3, 3)]
    assert kept(small) == []


def test_rows_that_the_downgrade_changed_stay_preserved(small: Target) -> None:
    step(
        small,
        "CREATE TABLE IF NOT EXISTS loose (n int, t text);CREATE TABLE IF NOT EXISTS keyed (n int PRIMARY KEY, t text)",
        *(CARRY.format(name) for name in NAMES),
        *(f"UPDATE {name} SET t = 'other' WHERE n = 2" for name in NAMES),
        "ALTER TABLE keyed ADD PRIMARY KEY (n)",
    )
    write(small, *(f"INSERT INTO {name} SELECT generate_series(1, 3)" for name in NAMES))
    small.migrate(ONE)
    small.migrate(TWO)
    assert {each.table: dict(each.why) for each in kept(small)} == {
        "app.loose": {"there are rows in app.loose, and no key that tells which": 1},
        "app.keyed": {"a row of that n is there": 1},
    }


NAMES = ("loose", "keyed")
CARRY = "CREATE TABLE new AS TABLE {0}; DROP TABLE {0}; ALTER TABLE new RENAME TO {0}"


def test_orphans_of_orphans_stay_too(small: Target) -> None:
    step(
        small,
        "CREATE TABLE trees (id int PRIMARY KEY, up int REFERENCES trees, who int REFERENCES users)",
        "DROP TABLE trees",
    )
    write(small, "INSERT INTO trees SELECT n, nullif(n - 1, 0), CASE n WHEN 5 THEN 5 END FROM generate_series(1, 9) n")
    small.migrate(ONE)
    write(small, "DELETE FROM users WHERE id = 5")
    small.migrate(TWO)
    assert small.query("SELECT array_agg(id ORDER BY id) FROM trees") == [([1, 2, 3, 4],)]
    [entry] = kept(small)
    assert sorted(entry.why.values()) == [1, 4]


def test_values_go_back_where_nobody_wrote_another_one(small: Target) -> None:
    step(small, "ALTER TABLE users ADD COLUMN mark text DEFAULT 'none', ADD COLUMN rank int",
         "ALTER TABLE users DROP COLUMN mark, DROP COLUMN rank")  # fmt: skip
    write(small, "UPDATE users SET mark = 'm' || id, rank = id WHERE id < 6")
    before = small.query("SELECT * FROM users WHERE id NOT IN (2, 3) ORDER BY id")
    small.migrate(ONE)
    write(small, "DELETE FROM posts WHERE author = 2", "DELETE FROM users WHERE id = 2")
    up = "op.execute(\"ALTER TABLE users ADD COLUMN mark text DEFAULT 'none', ADD COLUMN rank int\")"
    small.write(TWO, ONE, f"{up}; op.execute('UPDATE users SET rank = 99 WHERE id = 3')")
    small.alembic("upgrade", "head")
    assert small.query("SELECT * FROM users WHERE id NOT IN (2, 3) ORDER BY id") == before
    assert small.query("SELECT mark, rank FROM users WHERE id = 3") == [("m3", 99)]
    [entry] = kept(small)
    assert entry.why == {"another value is there": 1, "its row is gone": 2}
    assert small.query(f"SELECT id, mark, rank FROM {entry.place} ORDER BY id") == [(2, "m2", 2), (3, None, 3)]


REFUSED = {
    "ALTER TABLE bare DROP COLUMN n": ("3 values of app.bare.n", "the table has no primary key to restore values by"),
    "ALTER TABLE users DROP COLUMN id CASCADE": ("9 values of app.users.id", "the primary key to restore values by"),
    "TRUNCATE bare": ("3 rows of app.bare", ""),
    "DELETE FROM bare": ("3 rows of app.bare", ""),
    "DO $$ BEGIN DROP TABLE posts; TRUNCATE bare; END $$": ("3 rows of app.bare", ""),
    "DROP TABLE posts; SELECT empty_bare()": ("3 rows of app.bare", ""),
}


@pytest.mark.few(1)
@pytest.mark.parametrize("statement", REFUSED)
def test_what_cannot_be_kept_is_refused_and_goes_where_it_is_allowed(small: Target, statement: str) -> None:
    write(small, "DROP VIEW titles")
    step(small, "SELECT 1", statement)
    destroyed, reason = REFUSED[statement]
    with pytest.raises(RevisionFailed) as caught:
        small.migrate(ONE)
    assert f"it would delete {destroyed}" in str(caught.value)
    assert f"it cannot be preserved: {reason}" in str(caught.value) or not reason
    assert kept(small) == []
    small.migrate(ONE, allow_data_loss=frozenset([TWO]))
    assert told(small) == (["9 rows of app.posts"] if "posts" in statement else [])


def test_what_is_allowed_to_go_is_kept_where_it_can_be(small: Target) -> None:
    step(small, MORE, "DROP TABLE more")
    write(small, FILL_MORE)
    small.migrate(ONE, allow_data_loss=frozenset([TWO]))
    assert told(small) == ["9 rows of app.more"]


def test_without_a_place_it_refuses_and_says_how_to_make_one(small: Target) -> None:
    write(small, "DROP SCHEMA kept")
    step(small, MORE, "DROP TABLE more")
    write(small, FILL_MORE)
    with pytest.raises(RevisionFailed) as caught:
        small.migrate(ONE)
    assert "it would delete 9 rows of app.more" in str(caught.value)
    assert "As an admin: CREATE SCHEMA kept AUTHORIZATION test_" in str(caught.value)


@pytest.mark.full
def test_where_nothing_is_kept_a_run_looks_for_it_once(keeping: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(restore, "read", lambda session: looked.append(session) or read(session))
    for id, down in ((ONE, None), (TWO, ONE), (THREE, TWO)):
        keeping.write(id, down, f"op.execute('CREATE TABLE t{id} (n int)')", f"op.execute('DROP TABLE t{id}')")
    keeping.migrate(THREE)
    assert len(looked) == 1
    write(keeping, f"INSERT INTO t{THREE} VALUES (3)")
    keeping.migrate("base")
    keeping.migrate(THREE)
    assert keeping.query(f"SELECT n FROM t{THREE}") == [(3,)]


def test_what_is_kept_is_no_part_of_the_fingerprint(small: Target) -> None:
    def lines() -> tuple[str, ...]:
        with connect(small.url) as connection:
            return read_lines(connection)

    before = lines()
    step(small, MORE, "DROP TABLE more")
    write(small, FILL_MORE)
    small.migrate(ONE)
    assert kept(small)
    assert lines() == before


def test_nobody_but_the_owner_may_anything_with_it(small: Target) -> None:
    step(small, MORE, "DROP TABLE more")
    write(
        small,
        FILL_MORE,
        "GRANT SELECT, UPDATE (what) ON more TO PUBLIC",
        "CREATE POLICY p ON more USING (false)",
        "ALTER TABLE more ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    )
    small.migrate(ONE)
    [entry] = kept(small)
    grants = "SELECT count(*) FROM pg_class c, aclexplode(relacl) WHERE c.relnamespace = 'kept'::regnamespace"
    assert small.query(f"{grants} AND grantee <> relowner") == [(0,)]
    assert small.query(f"SELECT count(*) FROM {entry.place}") == [(9,)]


def test_a_script_that_drops_what_is_kept_is_refused(small: Target) -> None:
    step(small, MORE, "DROP TABLE more")
    write(small, FILL_MORE)
    small.migrate(ONE)
    [entry] = kept(small)
    step(small, "SELECT 1", f"DROP TABLE {entry.place}")
    with pytest.raises(RevisionFailed, match="it was preserved before"):
        small.migrate(ONE)


def test_the_record_has_it(small: Target) -> None:
    step(small, MORE, "DROP TABLE more")
    write(small, FILL_MORE)
    small.migrate(ONE)
    [entry] = kept(small)
    small.migrate(TWO)
    with connect(small.url) as connection:
        records, _ = history.read(connection, None)
    found = [(each.what, each.result) for each in records if "app.more" in each.what]
    assert found == [
        (f"restore app.more of {TWO}", f"put back: 9 rows of app.more ({entry.id})"),
        (f"preserve app.more of {TWO}", f"kept: 9 rows of app.more ({entry.id})"),
    ]
    assert not [each for each in records if each.result == history.BY_HAND]


def test_the_alembic_command_keeps_too_unless_it_is_told_not_to(small: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    step(small, MORE, "DROP TABLE more")
    write(small, FILL_MORE)
    monkeypatch.setenv("PULUMI_ALEMBIC_KEEP_DATA", "false")
    assert "it would delete 9 rows of app.more" in small.alembic("downgrade", "-1", check=False)
    monkeypatch.delenv("PULUMI_ALEMBIC_KEEP_DATA")
    assert f"{TWO}: preserved 9 rows of app.more" in small.alembic("downgrade", "-1")
    assert f"{TWO}: restored 9 rows of app.more" in small.alembic("upgrade", "head")
    assert len(more(small)) == 9


def test_the_preview_counts_preserved_rows_and_their_cost(small: Target) -> None:
    step(small, MORE + "CREATE TYPE t AS ENUM ('a'); CREATE TABLE typed (id int, t t);"
         "ALTER TABLE users ADD COLUMN x int; ALTER TABLE bare ADD COLUMN y int",
         "DROP TABLE more", "DROP TABLE typed", "DROP TYPE t", "ALTER TABLE users DROP COLUMN x",
         "ALTER TABLE bare DROP COLUMN y")  # fmt: skip
    write(small, FILL_MORE, "INSERT INTO typed VALUES (1, 'a')", "UPDATE users SET x = 1", "UPDATE bare SET y = 1")
    inputs = planned(small, ONE)
    [revision] = PlanReview.from_json(json.loads(inputs["__plan"])).revisions
    assert revision.losses == ("3 values of app.bare.y",)
    assert revision.keeps == (
        "9 rows of app.more: moved, no copy",
        "1 row of app.typed: copied under lock, 8192 bytes",
        "9 values of app.users.x: copied",
    )
    assert "    preserves 9 rows of app.more: moved, no copy" in summary(
        PlanReview.from_json(json.loads(inputs["__plan"]))
    )
    off = planned(small, ONE, policy={"keep_data": "false"})
    [revision] = PlanReview.from_json(json.loads(off["__plan"])).revisions
    assert (revision.keeps, len(revision.losses)) == ((), 4)
    assert off["digest"] == inputs["digest"]
    with pytest.raises(DataLoss):
        MigrationsProvider().update("id", {}, inputs)
    MigrationsProvider().update("id", {}, {**inputs, "__allow_data_loss": [TWO]})
    back = planned(small, TWO)
    [revision] = PlanReview.from_json(json.loads(back["__plan"])).revisions
    assert set(revision.puts_back) == {"9 rows of app.more", "1 row of app.typed", "9 values of app.users.x"}


def planned(target: Target, revision: str, **properties: Any) -> dict[str, Any]:
    news = {"url": target.url, "directory": str(target.directory), "target": revision, "__urn": "urn", **properties}
    return dict(MigrationsProvider().check({}, news).inputs)


def test_a_ledger_from_before_anything_was_kept_learns_to_tell_of_it(small: Target) -> None:
    step(small, MORE, "DROP TABLE more")
    write(
        small,
        FILL_MORE,
        "ALTER TABLE migrations.ledger DROP CONSTRAINT ledger_event_check, ADD CONSTRAINT ledger_event_check "
        "CHECK (event IN ('intent', 'done', 'applied', 'accepted', 'failed', 'stamped', 'backup', 'restored'))",
    )
    small.migrate(ONE)
    small.migrate(TWO)
    assert small.query(
        "SELECT array_agg(event ORDER BY id) FROM migrations.ledger WHERE event LIKE ANY ('{k%,p%}')"
    ) == [(["kept", "put back"],)]
