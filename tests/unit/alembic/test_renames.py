"""A rehearsal shows a rename as a rename: nothing is created or dropped."""

from pulumi_alembic.review.rehearsal.renames import Rename, called, renames

BEFORE = {
    ("schema", 1, 0): ("app", ""),
    ("table", 2, 0): ("cogs", "app"),
    ("column", 2, 1): ("id", "app.cogs"),
    ("column", 2, 2): ("teeth", "app.cogs"),
}
LINES = (
    "schema|app|",
    "table|app.cogs|",
    "column|app.cogs.id|integer",
    "column|app.cogs.teeth|integer",
    "constraint|app.cogs.cogs_check|CHECK ((teeth > 0))",
    "index|app.cogs_idx|CREATE INDEX cogs_idx ON app.cogs USING btree (teeth)",
    "table|app.cogs_too|",
)


def test_a_renamed_table_and_its_column_are_renames_and_its_parts_are_none() -> None:
    after = {**BEFORE, ("table", 2, 0): ("gears", "app"), ("column", 2, 1): ("id", "app.gears")}
    after[("column", 2, 2)] = ("size", "app.gears")
    found = renames(BEFORE, after)
    assert list(map(str, found)) == ["table app.cogs to app.gears", "column app.cogs.teeth to app.gears.size"]
    assert list(called(LINES, found)) == [
        "schema|app|",
        "table|app.gears|",
        "column|app.gears.id|integer",
        "column|app.gears.size|integer",
        "constraint|app.gears.cogs_check|CHECK ((size > 0))",
        "index|app.cogs_idx|CREATE INDEX cogs_idx ON app.gears USING btree (size)",
        "table|app.cogs_too|",
    ]


def test_a_renamed_schema_takes_what_is_in_it_along() -> None:
    after = {
        ("schema", 1, 0): ("other", ""),
        ("table", 2, 0): ("cogs", "other"),
        ("column", 2, 1): ("id", "other.cogs"),
        ("column", 2, 2): ("teeth", "other.cogs"),
    }
    found = renames(BEFORE, after)
    assert found == [Rename("schema", "app", "", "other", "")]
    assert list(called(LINES, found))[:3] == ["schema|other|", "table|other.cogs|", "column|other.cogs.id|integer"]
