"""The tables of a plan are the tables that it changes and their neighbours, each before and after the plan."""

from dataclasses import replace

import pytest

from pulumi_alembic.review.report.diagram import diagram, type_word, word
from pulumi_alembic.sql.catalog import Catalog
from pulumi_alembic.sql.effects import after
from pulumi_alembic.sql.tables import ColumnChange, ForeignKey, TableChange, TableState, tables, type_name

BEFORE = """
    CREATE TABLE users (id bigint PRIMARY KEY, email varchar(50) UNIQUE);
    CREATE TABLE tasks (id bigint PRIMARY KEY, owner_id bigint NOT NULL REFERENCES users, title text);
    CREATE TABLE notes (id bigint PRIMARY KEY, task_id bigint REFERENCES tasks);
    CREATE TABLE aside (id bigint);
    CREATE TABLE days (day date) PARTITION BY RANGE (day);
    CREATE TABLE day PARTITION OF days DEFAULT
"""


def settled(catalog: Catalog) -> Catalog:
    """Return the catalog as if it had been read from a server: no column is new."""
    relations = {
        name: replace(each, columns={key: replace(column, new=False) for key, column in each.columns.items()})
        for name, each in catalog.relations.items()
    }
    return replace(catalog, relations=relations)


def planned(sql: str) -> dict[str, TableChange]:
    before = settled(after(BEFORE, Catalog(search_path=("app",))))
    return {each.name.removeprefix("app."): each for each in tables(before, after(sql, before))}


def drawn(sql: str) -> str:
    return diagram(tuple(planned(sql).values()))[0]


def test_changed_tables_come_first_then_only_their_neighbours() -> None:
    found = planned("ALTER TABLE tasks ADD COLUMN due_on date")
    assert [(name, each.change) for name, each in found.items()] == [("tasks", "changed"), ("notes", ""), ("users", "")]
    assert found["notes"].before == found["notes"].after


@pytest.mark.parametrize(
    "sql",
    ["ALTER TABLE tasks RENAME TO jobs", "ALTER TABLE users ADD x int", "DROP TABLE notes", "CREATE TABLE new ()",
     "ALTER TABLE tasks RENAME title TO heading; ALTER TABLE users RENAME TO people"],
)  # fmt: skip
def test_a_table_that_stays_is_passed_over_only_if_nothing_of_it_changes(
    sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = planned(sql)
    monkeypatch.setattr("pulumi_alembic.sql.tables._stays", lambda old, new, renamed: False)
    assert planned(sql) == quick


def test_a_new_table_has_no_state_before_and_its_keys_are_known() -> None:
    found = planned("CREATE TABLE tags (task_id int8 NOT NULL REFERENCES tasks, name character varying(9) UNIQUE)")
    columns = (ColumnChange("task_id", "bigint", True, "FK"), ColumnChange("name", "varchar(9)", key="UK"))
    assert found["tags"] == TableChange("app.tags", None, TableState(columns, (ForeignKey("app.tasks", ("task_id",)),)))


def test_a_dropped_table_takes_its_keys_along_and_what_referred_to_it_changes() -> None:
    found = planned("DROP TABLE users CASCADE")
    assert {name: each.change for name, each in found.items()} == {"tasks": "changed", "users": "dropped", "notes": ""}
    assert 'bigint owner_id "was#32;FK"' in drawn("DROP TABLE users CASCADE")
    assert 't1 }o--|| t2 : "owner#95;id#32;#40;dropped#41;"' in drawn("DROP TABLE users CASCADE")


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("ALTER TABLE users ALTER COLUMN email TYPE text", 'text email UK "was#32;varchar#40;50#41;"'),
        ("ALTER TABLE users ALTER COLUMN email SET NOT NULL", 'varchar(50) email UK "now#32;not#32;null"'),
        ("ALTER TABLE users RENAME COLUMN email TO mail", 'varchar(50) mail UK "was#32;email"'),
        ("ALTER TABLE users DROP COLUMN email", 'varchar(50) email UK "dropped"'),
        ("ALTER TABLE users ADD COLUMN pk int NOT NULL", 'integer x--70-k "new#44;#32;not#32;null"'),
        ("ALTER TABLE tasks ADD CONSTRAINT t UNIQUE (title)", 'text title UK "now#32;UK"'),
    ],
)
def test_behind_a_column_stands_what_happens_to_it(sql: str, row: str) -> None:
    assert row in drawn(sql)


def test_a_renamed_table_is_one_table_and_no_key_to_it_is_another_one() -> None:
    found = planned("ALTER TABLE users RENAME TO people")
    assert found["people"].was == "app.users"
    assert found["people"].before == found["people"].after
    assert "users" not in found and found["tasks"].change == ""


def test_a_table_created_again_under_another_name_is_not_renamed() -> None:
    found = planned("DROP TABLE aside; CREATE TABLE besides (id bigint)")
    assert {name: each.change for name, each in found.items()} == {"aside": "dropped", "besides": "new"}


def test_partitions_are_not_drawn() -> None:
    assert list(planned("ALTER TABLE days ADD COLUMN note text")) == ["days"]


def test_tables_that_stay_are_left_out_first_then_columns_that_do_then_tables() -> None:
    found = tuple(
        planned("ALTER TABLE tasks ADD x int; ALTER TABLE users ADD x int; ALTER TABLE aside ADD x int").values()
    )
    assert [each.change for each in found] == ["changed"] * 3 + [""]
    whole = len(diagram(found)[0])
    text, left, shortened = diagram(found, whole - 1)
    assert (left, shortened) == (1, False) and "title" in text and "notes" not in text
    text, left, shortened = diagram(found, len(text) - 1)
    assert (left, shortened) == (1, True) and "title" not in text and "users" in text
    text, left, shortened = diagram(found, len(text) - 1)
    assert (left, shortened) == (2, True)
    assert diagram(found, 0) == ("", 4, False)


def test_more_than_five_hundred_keys_are_not_drawn() -> None:
    keys = tuple(ForeignKey("a", (f"c{number}",)) for number in range(600))
    assert diagram([TableChange("a", None, TableState((), keys))]) == ("", 1, False)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("character varying(50)", "varchar(50)"),
        ("pg_catalog.varchar(50)", "varchar(50)"),
        ("timestamp(3) with time zone", "timestamptz(3)"),
        ("pg_catalog.timestamptz(3)", "timestamptz(3)"),
        ('pg_catalog."numeric"(10,2)', "numeric(10,2)"),
        ("numeric(10,2)", "numeric(10,2)"),
        ("double precision", "float8"),
        ("pg_catalog.int4[]", "integer[]"),
        ("pg_catalog.interval(7176)", "interval"),
        ("character(3)", "char(3)"),
        ('"char"', '"char"'),
        ('app."My Type"', 'app."My Type"'),
    ],
)
def test_a_type_has_one_name_whoever_wrote_it(written: str, name: str) -> None:
    assert type_name(written) == name


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("id", "id"),
        ("_id", "_id"),
        ("a__b", "a__b"),
        ("_a_", "x--5f-a_"),
        ("pk", "x--70-k"),
        ("PK_tasks", "PK_tasks"),
        ("größe", "größe"),
        ("due date", "due\u202fdate"),
        ("1st", "x--31-st"),
        ('a"b', "a-22-b"),
        ("", "x-"),
    ],
)
def test_a_name_is_a_word_of_mermaid_that_no_other_name_is(name: str, written: str) -> None:
    assert word(name) == written


def test_limits_and_arrays_of_a_type_are_shown() -> None:
    assert type_word("numeric(10,2)[]") == "numeric(10\u201a2)[]"
