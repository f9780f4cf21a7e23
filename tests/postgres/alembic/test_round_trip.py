"""A downgrade and the upgrade after it restore random schemas with random rows, with and without a backfill.

The same holds for a contract and its downgrade.

Rows and values are as before, or the preview of the downgrade named exactly those that are lost. Preview and update
agree in every number. `make test-all` tries 500 draws.
"""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable

import psycopg
import pytest

from pulumi_alembic.database.connection import Connection
from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.errors import RevisionFailed
from pulumi_alembic.migrate.data_loss.preserved_table import read
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review import rows_at_risk
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import linter
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.scripts.origin import Origin
from tests.conftest import ALL, Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.round_trips import BASE, Draw, draw, fill

DRAWS = range(*map(int, os.environ.get("DRAWS", "1:501" if ALL else "1:7").split(":")))
"""The seeds of the draws: `DRAWS=32:33` repeats seed 32."""
ONE, TWO = "20250101_001", "20250102_002"

CLEAR = """
DROP SCHEMA app, aside, kept CASCADE;
CREATE SCHEMA app; CREATE SCHEMA aside; CREATE SCHEMA kept;
DROP TABLE IF EXISTS migrations.alembic_version, migrations.ledger CASCADE
"""
DROPS = [
    f"DROP {each} CASCADE"
    for each in (
        "FUNCTION app.refuse()",
        "SEQUENCE app.numbers",
        "TYPE app.place",
        "DOMAIN app.short",
        "TYPE app.mood",
        'COLLATION app."plain"',
    )
]
NEEDS_NO_ROWS = re.compile(r"ADD COLUMN (?!.*DEFAULT).*NOT NULL")
"""Such a column cannot be added to a table that has rows."""

HIDDEN = re.compile(r"\S+ (rows|values) of")
"""A policy hides how many there are, so the preview has no number."""

TABLES = """
SELECT quote_ident(nspname) || '.' || quote_ident(relname), relforcerowsecurity, (
    SELECT json_agg(quote_ident(attname) ORDER BY attname) FROM pg_attribute
    WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('app', 'aside') AND relkind = 'r'
"""


@pytest.fixture
def target(empty_target: Target, database: Database, monkeypatch: pytest.MonkeyPatch) -> Target:
    with database.connect() as admin:
        for schema in ("kept", "aside"):
            admin.execute(f'CREATE SCHEMA {schema} AUTHORIZATION "{database.name}_owner"'.encode())
        admin.execute(f'GRANT CREATE ON DATABASE "{database.name}" TO "{database.name}_owner"'.encode())
    # On a busy machine, counting five rows can take longer than a preview waits. The findings of lint are ignored.
    patience = b"SET lock_timeout = 1000; SET statement_timeout = 9000; SET row_security = off"
    monkeypatch.setattr(rows_at_risk, "_PATIENCE", patience)
    monkeypatch.setattr(linter, "objections", lambda texts: dict.fromkeys(texts, ()))
    return empty_target


def write(target: Target, drawn: Draw, *, contract: bool) -> None:
    """Write the two revisions. With `contract`, the second one drops what it would otherwise create."""
    first = [BASE, *drawn.up(drawn.first)]
    second = drawn.up(drawn.second), drawn.down(drawn.second)
    if contract:
        # With rows in the tables, a later statement would fail because of constraints that are deferred to the commit.
        ups = [re.sub("^UPDATE", "SET CONSTRAINTS ALL IMMEDIATE; UPDATE", each) for each in second[0]]
        first, second = [*first, *ups], (second[1], ups)
    for id, down, ups, downs in (
        (ONE, None, first, [] if contract else [*drawn.down(drawn.first), *DROPS]),
        (TWO, ONE, *second),
    ):
        path = target.write(id, down, executes(ups), executes(downs))
        phase = "phase = 'contract'\n" if contract and id == TWO else ""
        path.write_text(path.read_text().replace("from alembic", f"{phase}import sqlalchemy as sa\nfrom alembic"))


def executes(statements: list[str]) -> str:
    return "\n    ".join(f"op.execute(sa.text({each.replace(':', chr(92) + ':')!r}))" for each in statements) or "pass"


def rows(target: Target) -> dict[str, list[dict[str, str]]]:
    """Return the rows of each table, with every value as text, regardless of row security."""
    found = {}
    with connect(target.url) as connection:
        for table, forced, columns in connection.execute(TABLES).fetchall():
            if forced:
                connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY".encode())
            values = ", ".join(f"{each}::text" for each in columns or ())
            lines = connection.execute(f"SELECT {values} FROM ONLY {table}".encode()).fetchall()
            found[table] = sorted((dict(zip(columns or (), line, strict=True)) for line in lines), key=str)
    return found


def are_there(text: str, found: dict[str, list[dict[str, str]]]) -> bool:
    """Return whether the rows or values that the text of a preview names exist."""
    where = text.partition(" of ")[2]
    table = next(each for each in found if where == each or where.startswith(f"{each}."))
    return any(row.get(where[len(table) + 1 :], "") is not None for row in found[table])


def without(found: dict[str, list[dict[str, str]]], lost: list[str]) -> dict[str, list[dict[str, str]]]:
    """Return the rows without the values of the columns that the preview named as lost."""
    for text in lost:
        where = text.partition(" of ")[2]
        table, column = next((each, where[len(each) + 1 :]) for each in found if where.startswith(f"{each}."))
        for row in found[table]:
            del row[column]
        found[table].sort(key=str)
    return found


def fails_alone(target: Target, drawn: Draw, error: RevisionFailed) -> None:
    """The second revision's statements, sent by nothing else, end with the same SQLSTATE."""
    with connect(target.url) as connection, pytest.raises(psycopg.Error) as alone:
        for statement in drawn.up(drawn.second):
            connection.execute(statement.encode())
    assert f"({alone.value.sqlstate})" in str(error), error


KEYLESS = """
SELECT quote_ident(nspname) || '.' || quote_ident(relname) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind IN ('r', 'p') AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)
"""


def leave_out_nulls(
    target: Target, before: dict[str, list[dict[str, str]]], after: dict[str, list[dict[str, str]]]
) -> None:
    """Leave out columns of NULL only in tables without a key: a backfill fills them again, and nobody is told."""
    with connect(target.url) as connection:
        keyless = [name for (name,) in connection.execute(KEYLESS).fetchall() if before.get(name)]
    for name in keyless:
        for column in [column for column in before[name][0] if all(row[column] is None for row in before[name])]:
            for found in (before[name], after[name]):
                for row in found:
                    row.pop(column, None)
                found.sort(key=str)


def told(review: PlanReview, what: str) -> list[str]:
    """Return what the preview reports by revision, without costs. A number that a policy hides is unknown before."""
    return [f"{each.id}: {text.partition(': ')[0]}" for each in review.revisions for text in getattr(each, what)]


def heard(said: list[str], verb: str) -> list[str]:
    return [each.replace(f" {verb}", "") for each in said if re.match(rf"\S+ {verb} ", each)]


def agree(preview: list[str], update: list[str]) -> None:
    """Assert equal numbers. A number that a policy hides is missing in the preview, and can be zero."""
    hidden = {each for each in preview if HIDDEN.match(each)}
    known = [each for each in update if re.sub(r"(: )[\d,]+ (row|value)s?", r"\1\2s", each) not in hidden]
    assert sorted(known) == sorted({*preview} - hidden)


def schema(target: Target) -> tuple[str, ...]:
    with connect(target.url) as connection:
        return read_lines(connection)


def preview(target: Target, revision: str) -> PlanReview:
    return review_from_database(Job(target.url, target.directory, revision), Settings(), keep=True)[1]


def round_trip(
    target: Target, drawn: Draw, back: str, fill: Callable[[Connection, Draw], object], start: str = TWO
) -> Counter[str]:
    """Count the lost and the preserved tables and columns, from `start` to `back` and to `start` again."""
    with connect(target.url) as connection:
        connection.execute(CLEAR)
        connection.commit()
    write(target, drawn, contract=start == ONE)
    try:
        target.migrate(start, origin=Origin())
    except RevisionFailed as error:
        # PostgreSQL knows no such schema.
        fails_alone(target, drawn, error)
        return Counter({"that could not be": 1})
    with connect(target.url) as connection:
        fill(connection, drawn)
        connection.commit()
    before, lines, said = rows(target), schema(target), list[str]()
    down = preview(target, back)
    lost = [text for text in told(down, "losses") if not HIDDEN.match(text) or are_there(text, before)]
    if lost:
        with pytest.raises(RevisionFailed, match="it would delete") as caught:
            target.migrate(back, origin=Origin())
        assert any(each.partition(" of ")[2] in str(caught.value) for each in lost)
        assert rows(target) == before
    may_lose = frozenset(each.partition(":")[0] for each in lost)
    target.migrate(back, on_kept=said.append, allow_data_loss=may_lose, origin=Origin())
    agree(told(down, "keeps"), heard(said, "preserved"))
    up, said = preview(target, start), []
    counted = Counter(lost=len(lost), kept=len(told(down, "keeps")))
    try:
        target.migrate(start, on_kept=said.append, origin=Origin())
    except RevisionFailed as error:
        # The revision's statements do not fit the rows, and fail without the migrator too. Dropped data stays
        # preserved.
        assert start == TWO
        with connect(target.url) as connection:
            assert (len(read(connection)) > 0) == (counted["kept"] > 0) or back == "base"
        fails_alone(target, drawn, error)
        return Counter({"that its statements do not fit": 1})
    if lost and any("cannot be NULL, and was not there" in each for each in said):
        # Rows cannot be restored without a value whose loss was allowed.
        return counted
    assert [each for each in said if "still preserved" in each] == []
    agree(told(up, "puts_back"), heard(said, "restored"))
    after = rows(target)
    leave_out_nulls(target, before, after)
    assert without(after, lost) == without(before, lost)
    assert schema(target) == lines
    with connect(target.url) as connection:
        assert [each.described(each.rows) for each in read(connection)] == []
    return counted


ONES = "CREATE TABLE app.ones (id int PRIMARY KEY, name text)"
FILL = "INSERT INTO app.ones SELECT n, 'n' || n FROM generate_series(1, 5) n"
DROP = "ALTER TABLE app.ones DROP COLUMN added"
TWOS = "CREATE TABLE app.twos (id int PRIMARY KEY, name text UNIQUE)"
SEEDS = "INSERT INTO app.twos VALUES (1, 'a'), (2, 'b'), (3, 'c')"

NAMED: dict[str, tuple[list[tuple[str, str]], str]] = {
    "a column of a partitioned table": (
        [
            (
                "CREATE TABLE app.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);"
                "CREATE TABLE app.part PARTITION OF app.parts DEFAULT;"
                "INSERT INTO app.parts VALUES (1), (2)",
                "DROP TABLE app.parts",
            ),
            ("ALTER TABLE app.parts ADD COLUMN name text", "ALTER TABLE app.parts DROP COLUMN name"),
        ],
        "UPDATE app.parts SET name = 'n' || id",
    ),
    "seeded rows of partitions, and values in one of them": (
        [
            (
                "CREATE TABLE app.parts (id int PRIMARY KEY) PARTITION BY RANGE (id);"
                "CREATE TABLE app.low PARTITION OF app.parts FOR VALUES FROM (0) TO (5);"
                "CREATE TABLE app.high PARTITION OF app.parts DEFAULT",
                "DROP TABLE app.parts",
            ),
            ("ALTER TABLE app.parts ADD COLUMN name text", "ALTER TABLE app.parts DROP COLUMN name"),
            ("INSERT INTO app.parts VALUES (1), (2), (8)", ""),
        ],
        "DELETE FROM app.parts WHERE id <> 2; UPDATE app.parts SET name = 'low'",
    ),
    "rows that refer to each other": (
        [
            ("CREATE TABLE app.l (id int PRIMARY KEY, favourite int)", "DROP TABLE app.l"),
            ("CREATE TABLE app.r (id int PRIMARY KEY, l int NOT NULL REFERENCES app.l)", "DROP TABLE app.r"),
            (
                "ALTER TABLE app.l ADD CONSTRAINT back FOREIGN KEY (favourite) REFERENCES app.r",
                "ALTER TABLE app.l DROP CONSTRAINT back",
            ),
        ],
        "INSERT INTO app.l VALUES (1); INSERT INTO app.r VALUES (7, 1); UPDATE app.l SET favourite = 7",
    ),
    "a cycle of three by composite keys, dropped at once": (
        [
            (
                "CREATE TABLE app.a (x int, y text, p int, q text, PRIMARY KEY (y, x));"
                "CREATE TABLE app.b (x int, y text, p int, q text, PRIMARY KEY (x, y),"
                "FOREIGN KEY (p, q) REFERENCES app.a (x, y));"
                "CREATE TABLE app.c (x int, y text, p int, q text, PRIMARY KEY (x, y),"
                "FOREIGN KEY (p, q) REFERENCES app.b (x, y));"
                "ALTER TABLE app.a ADD FOREIGN KEY (p, q) REFERENCES app.c (x, y)",
                "DROP TABLE app.a, app.b, app.c CASCADE",
            )
        ],
        "INSERT INTO app.a VALUES (1, 'a'); INSERT INTO app.b VALUES (2, 'b', 1, 'a');"
        "INSERT INTO app.c VALUES (3, 'c', 2, 'b'); UPDATE app.a SET p = 3, q = 'c'",
    ),
    "rows of partitions that refer to each other": (
        [
            (
                "CREATE TABLE app.parts (id int PRIMARY KEY, up int REFERENCES app.parts) PARTITION BY RANGE (id);"
                "CREATE TABLE app.low PARTITION OF app.parts FOR VALUES FROM (0) TO (5);"
                "CREATE TABLE app.high PARTITION OF app.parts DEFAULT",
                "DROP TABLE app.parts",
            )
        ],
        "INSERT INTO app.parts VALUES (1, NULL), (8, 1); UPDATE app.parts SET up = 8 WHERE id = 1",
    ),
    "a serial and unique column": (
        [("ALTER TABLE app.ones ADD COLUMN added serial UNIQUE", DROP)],
        "UPDATE app.ones SET added = 10 - added; SELECT setval('app.ones_added_seq', 40);"
        "DELETE FROM app.ones WHERE id = 2",
    ),
    "an identity that is always generated": (
        [("ALTER TABLE app.ones ADD COLUMN added int GENERATED ALWAYS AS IDENTITY UNIQUE", DROP)],
        "DELETE FROM app.ones WHERE id = 1; INSERT INTO app.ones VALUES (6, 'six')",
    ),
    "a backfill that is NOT NULL": (
        [
            (
                "ALTER TABLE app.ones ADD COLUMN added text; UPDATE app.ones SET added = 'unknown';"
                "ALTER TABLE app.ones ALTER added SET NOT NULL",
                DROP,
            )
        ],
        "UPDATE app.ones SET added = name WHERE id > 2",
    ),
    "NULL where the upgrade has a default and a backfill": (
        [
            ("ALTER TABLE app.ones ADD COLUMN added int DEFAULT 5", DROP),
            ("ALTER TABLE app.ones ADD COLUMN more int; UPDATE app.ones SET more = 6",
             "ALTER TABLE app.ones DROP more"),
        ],
        "UPDATE app.ones SET added = NULL WHERE id < 3; UPDATE app.ones SET more = NULL",
    ),
    "NULL in all rows, where the upgrade has a backfill": (
        [("ALTER TABLE app.ones ADD COLUMN added int; UPDATE app.ones SET added = 6", DROP)],
        "UPDATE app.ones SET added = NULL",
    ),
    "unique values that changed places": (
        [
            (
                "ALTER TABLE app.ones ADD COLUMN added text; UPDATE app.ones SET added = 'v' || id;"
                "ALTER TABLE app.ones ALTER added SET NOT NULL, ADD CONSTRAINT once UNIQUE (added);"
                "COMMENT ON CONSTRAINT once ON app.ones IS 'each once';"
                "CREATE TABLE app.of (ones text REFERENCES app.ones (added));"
                "CREATE UNIQUE INDEX low ON app.ones (lower(added))",
                f"DROP TABLE app.of; {DROP}",
            )
        ],
        "UPDATE app.ones SET added = 'x' || (6 - id); UPDATE app.ones SET added = replace(added, 'x', 'v');"
        "INSERT INTO app.of VALUES ('v1'), ('v5')",
    ),
    "unique values that changed places, beside a key that is checked late": (
        [
            (
                "ALTER TABLE app.ones ADD COLUMN added serial UNIQUE, ADD COLUMN up int;"
                "ALTER TABLE app.ones ADD FOREIGN KEY (up) REFERENCES app.ones DEFERRABLE INITIALLY DEFERRED",
                f"{DROP}, DROP up",
            )
        ],
        "UPDATE app.ones SET added = 10 + id, up = id; UPDATE app.ones SET added = 6 - id",
    ),
    "a seeded row deleted, to which a table without rows refers whose policy hides all": (
        [
            (f"{TWOS}; {SEEDS}", "DROP TABLE app.twos"),
            ("ALTER TABLE app.ones ADD COLUMN added int REFERENCES app.twos", DROP),
            (
                "CREATE POLICY hides ON app.ones USING (false);"
                "ALTER TABLE app.ones ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
                "ALTER TABLE app.ones DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;"
                "DROP POLICY hides ON app.ones",
            ),
        ],
        "ALTER TABLE app.ones NO FORCE ROW LEVEL SECURITY; DELETE FROM app.ones;"
        "ALTER TABLE app.ones FORCE ROW LEVEL SECURITY;"
        "DELETE FROM app.twos WHERE id = 1; UPDATE app.twos SET name = 'other' WHERE id = 2",
    ),
    "a check of two columns that are dropped apart": (
        [
            (
                "ALTER TABLE app.ones ADD COLUMN added int DEFAULT 1, ADD COLUMN top int DEFAULT 2,"
                "ADD CHECK (added <= top)",
                f"{DROP}; ALTER TABLE app.ones DROP top",
            )
        ],
        "UPDATE app.ones SET added = 10 + id, top = 20",
    ),
    "columns dropped one by one before their table": (
        [
            (TWOS, "DROP TABLE app.twos"),
            ("ALTER TABLE app.twos ADD COLUMN size int NOT NULL", "ALTER TABLE app.twos DROP COLUMN size"),
            ("ALTER TABLE app.twos ADD COLUMN at date", "ALTER TABLE app.twos DROP COLUMN at"),
        ],
        "INSERT INTO app.twos VALUES (1, 'a', 3, NULL), (2, 'b', 4, '2024-01-01')",
    ),
    "values that rows refer to": (
        [
            (
                "ALTER TABLE app.ones ADD COLUMN added text UNIQUE;"
                "CREATE TABLE app.of (added text REFERENCES app.ones (added))",
                f"DROP TABLE app.of; {DROP}",
            )
        ],
        "UPDATE app.ones SET added = name; INSERT INTO app.of SELECT added FROM app.ones",
    ),
    "seeded rows as they were": ([(f"{TWOS}; {SEEDS}", "DROP TABLE app.twos")], "SELECT"),
    "seeded rows without a key": (
        [("CREATE TABLE app.bare (n int); INSERT INTO app.bare VALUES (1), (1), (2)", "DROP TABLE app.bare")],
        "INSERT INTO app.bare VALUES (2), (3)",
    ),
    "seeded rows that changed places, went, and came": (
        [(f"{TWOS}; {SEEDS}", "DROP TABLE app.twos")],
        "UPDATE app.twos SET name = name || '!'; UPDATE app.twos SET name = "
        "CASE id WHEN 1 THEN 'b' ELSE 'a' END WHERE id < 3;"
        "DELETE FROM app.twos WHERE id = 3; INSERT INTO app.twos VALUES (4, 'd')",
    ),
    "seeded rows that others refer to and delete with": (
        [
            (f"{TWOS}; {SEEDS}", "DROP TABLE app.twos"),
            (
                "ALTER TABLE app.ones ADD COLUMN added int NOT NULL DEFAULT 1 REFERENCES app.twos ON DELETE CASCADE",
                DROP,
            ),
        ],
        "UPDATE app.ones SET added = 2; UPDATE app.twos SET name = 'other' WHERE id = 1;"
        "DELETE FROM app.twos WHERE id = 3",
    ),
    "all seeded rows deleted": ([(f"{TWOS}; {SEEDS}", "DROP TABLE app.twos")], "DELETE FROM app.twos"),
    "a table renamed before the drop": (
        [
            ("ALTER TABLE app.ones ADD COLUMN added int", DROP),
            ("ALTER TABLE app.ones RENAME TO gears", "ALTER TABLE app.gears RENAME TO ones"),
        ],
        "UPDATE app.gears SET added = id",
    ),
    "a table renamed behind the drop": (
        [
            ("ALTER TABLE app.ones RENAME TO gears", "ALTER TABLE app.gears RENAME TO ones"),
            ("ALTER TABLE app.gears ADD COLUMN added int", "ALTER TABLE app.gears DROP COLUMN added"),
        ],
        "UPDATE app.gears SET added = id",
    ),
    "columns renamed before the drop": (
        [
            ("ALTER TABLE app.ones ADD COLUMN added int", DROP),
            ("ALTER TABLE app.ones RENAME added TO size", "ALTER TABLE app.ones RENAME size TO added"),
            ("ALTER TABLE app.ones RENAME id TO key", "ALTER TABLE app.ones RENAME key TO id"),
            (f"{TWOS}; ALTER TABLE app.twos RENAME name TO x",
             "ALTER TABLE app.twos RENAME x TO name; DROP TABLE app.twos"),
        ],
        "UPDATE app.ones SET size = key; INSERT INTO app.twos VALUES (1, 'a')",
    ),
    "a schema renamed before the drop": (
        [
            ("ALTER TABLE app.ones SET SCHEMA aside; ALTER TABLE aside.ones ADD COLUMN added int",
             "ALTER TABLE aside.ones DROP COLUMN added; ALTER TABLE aside.ones SET SCHEMA app"),
            ("CREATE TABLE aside.threes (id int)", "DROP TABLE aside.threes"),
            ("ALTER SCHEMA aside RENAME TO beside; ALTER SCHEMA beside RENAME TO aside",
             "ALTER SCHEMA aside RENAME TO beside; ALTER SCHEMA beside RENAME TO aside"),
        ],
        "UPDATE aside.ones SET added = id; INSERT INTO aside.threes VALUES (3)",
    ),
}  # fmt: skip


NO_VALUES = ("all seeded rows deleted", "NULL in all rows, where the upgrade has a backfill")
"""Nothing is restored that has a number."""


@pytest.mark.few(3)
@pytest.mark.parametrize("name", NAMED)
def test_rows_and_values_are_as_before(target: Target, name: str) -> None:
    steps, change = NAMED[name]
    drawn = Draw(0, first=[(ONES, "DROP TABLE app.ones"), (FILL, "")], second=steps)
    found = round_trip(target, drawn, ONE, lambda connection, _: connection.execute(change.encode()))
    assert (found["lost"], found["kept"] > 0) == (0, name not in NO_VALUES)


@pytest.mark.few(1)
@pytest.mark.parametrize("name", [name for name in NAMED if name != "unique values that changed places"])
def test_rows_and_values_are_as_before_a_contract_that_is_undone(target: Target, name: str) -> None:
    steps, change = NAMED[name]
    drawn = Draw(0, first=[(ONES, ""), (FILL, "")], second=steps)
    found = round_trip(target, drawn, TWO, lambda connection, _: connection.execute(change.encode()), ONE)
    assert (found["lost"], found["kept"] > 0) == (0, name not in NO_VALUES)


@pytest.mark.parametrize(
    ("steps", "change"),
    [
        pytest.param(
            [("ALTER TABLE app.ones ADD COLUMN added int NOT NULL", DROP)],
            "INSERT INTO app.ones SELECT n, 'n', n FROM generate_series(1, 5) n",
            id="its values were lost",
        ),
        pytest.param(
            [
                ("ALTER TABLE app.ones RENAME TO gears", "ALTER TABLE app.gears RENAME TO ones"),
                ("ALTER TABLE app.gears ADD COLUMN added int NOT NULL", "ALTER TABLE app.gears DROP COLUMN added"),
            ],
            "INSERT INTO app.gears SELECT n, 'n', n FROM generate_series(1, 5) n",
            id="its table has another name then",
        ),
    ],
)
def test_rows_wait_for_the_revision_that_adds_a_column_without_a_default(
    target: Target, steps: list[tuple[str, str]], change: str, request: pytest.FixtureRequest
) -> None:
    lost = "lost" in request.node.callspec.id
    table = ONES.replace(" PRIMARY KEY", "") if lost else ONES
    drawn = Draw(0, first=[(table, "DROP TABLE app.ones")], second=steps)
    found = round_trip(target, drawn, "base", lambda connection, _: connection.execute(change.encode()))
    assert (found["lost"] > 0, found["kept"] > 0) == (lost, True)


@pytest.mark.full
@pytest.mark.parametrize(("start", "draws"), [(TWO, DRAWS), (ONE, DRAWS[:20])], ids=("downgrade", "contract"))
def test_down_and_up_again_is_the_identity(target: Target, start: str, draws: range) -> None:
    exercised: Counter[str] = Counter()
    for seed in draws:
        drawn, back = draw(seed), random.Random(seed).choice((ONE, ONE, "base"))
        if start == ONE:
            back = TWO
            if any(NEEDS_NO_ROWS.search(each) for each in drawn.up(drawn.second)):
                continue
        try:
            found = round_trip(target, drawn, back, fill, start)
        except BaseException:
            print(f"seed {seed}, back to {back}")
            raise
        exercised.update({*drawn.has, *(f"rows or values {what}" for what, number in found.items() if number)})
    print(f"{len(draws)} draws, seeds {draws[0]} to {draws[-1]}; of these had")
    print("\n".join(f"{count:5} {what}" for what, count in exercised.most_common()))
    assert exercised["rows or values kept"] >= len(draws) // 2
