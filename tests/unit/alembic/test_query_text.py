"""A trace shows a statement without its values, in every style of quoting."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pulumi_alembic.sql.query_text import operation, without_constants

SHOWN = {
    "INSERT INTO t (a, b) VALUES ('x''y', 1.5e10), (E'a\\'b', 0xFF)": "INSERT INTO t (a, b) VALUES (?, ?), (?, ?)",
    "UPDATE t SET a = -.5, b2 = $1 WHERE c = %(c)s": "UPDATE t SET a = -?, b2 = $1 WHERE c = %(c)s",
    "SELECT a.b1,\n  U&'x' FROM \"T 1\" -- 'secret'\n": 'SELECT a.b1, U&? FROM "T 1"',
    "DO $x$ BEGIN PERFORM 'secret'; END $x$": "DO ?",
    "SELECT /* 'a /* b */ */ 1": "SELECT ?",
    "ALTER ROLE app PASSWORD 'secret'": "ALTER ROLE app PASSWORD ?",
    r"SELECT 'a\' OR secret": "SELECT ?",
    "SELECT 'secret": "SELECT ?",
    "SELECT $a$secret": "SELECT ?",
    "": "",
}


_TEXT = st.text(alphabet="abxeEuU&B$_1. '\"/*-\\\n", max_size=12)


@pytest.mark.parametrize("sql", SHOWN)
def test_constants_and_comments_are_left_out(sql: str) -> None:
    assert without_constants(sql) == SHOWN[sql]


@given(_TEXT, _TEXT)
@example("", "e")
def test_no_quoting_shows_a_value(value: str, before: str) -> None:
    """A constant is never shown, unless a quote before it has opened a name."""
    quoted = "'" + value.replace("'", "''") + "s3cr3t'"
    shown = without_constants(f"SELECT a, {quoted}")
    assert "s3cr3t" not in shown
    if not any(quote in before for quote in "'\"$/-"):
        assert "s3cr3t" not in without_constants(f"SELECT {before} {quoted}")


def test_a_long_statement_is_cut() -> None:
    assert len(without_constants("SELECT " + ", ".join(["a"] * 5000))) <= 2010


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("-- x\ninsert into t values (1)", "INSERT"),
        ("CREATE UNIQUE INDEX i ON t (a)", "CREATE INDEX"),
        ("create or replace function f() returns int", "CREATE FUNCTION"),
        ("COMMENT ON TABLE t IS 'x'", "COMMENT TABLE"),
        (";", ""),
    ],
)
def test_an_operation_is_one_of_few(sql: str, name: str) -> None:
    assert operation(sql) == name
