import pytest

from pulumi_alembic.sql.outside_transaction import Kind, Statement, StatementError, alone, recognise


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "CREATE INDEX CONCURRENTLY i ON t (x)",
            Statement(Kind.CREATE_INDEX, "i", "t", definition="(x)"),
        ),
        (
            'create unique index concurrently if not exists "Odd ""Name" on only app."T" '
            "using btree (lower(x)) where x > 0;",
            Statement(
                Kind.CREATE_INDEX,
                '"Odd ""Name"',
                'app."T"',
                unique=True,
                lenient=True,
                definition="using btree (lower(x)) where x > 0",
            ),
        ),
        (
            "-- ON nothing (x)\n/* CREATE /* nested */ TABLE */ CREATE INDEX CONCURRENTLY i ON t (x)",
            Statement(Kind.CREATE_INDEX, "i", "t", definition="(x)"),
        ),
        ("DROP INDEX CONCURRENTLY IF EXISTS app.i", Statement(Kind.DROP_INDEX, "app.i", lenient=True)),
        ("REINDEX TABLE CONCURRENTLY app.t", Statement(Kind.REINDEX, "TABLE app.t")),
        ("REINDEX (VERBOSE, CONCURRENTLY) INDEX i", Statement(Kind.REINDEX, "INDEX i")),
        (
            "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'it''s' BEFORE 'ok'",
            Statement(Kind.ADD_VALUE, "mood", label="'it''s'", lenient=True),
        ),
        (
            "ALTER TABLE parent DETACH PARTITION app.child CONCURRENTLY",
            Statement(Kind.DETACH, "app.child", "parent"),
        ),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", Statement(Kind.REFRESH, "v")),
        ("VACUUM (FULL, ANALYZE) t", Statement(Kind.VACUUM)),
        ("ANALYZE t", Statement(Kind.ANALYZE)),
    ],
)
def test_the_kinds_that_a_block_is_for_are_recognised(sql: str, expected: Statement) -> None:
    assert alone(sql) == expected


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX i ON t (x)",
        "DROP INDEX i",
        "REINDEX TABLE t",
        "REINDEX (VERBOSE) TABLE t",
        "ALTER TYPE mood RENAME VALUE 'a' TO 'b'",
        "ALTER TABLE parent DETACH PARTITION child",
        "REFRESH MATERIALIZED VIEW v",
        "CREATE TABLE t (x text DEFAULT 'VACUUM')",
        "SELECT 'CREATE INDEX CONCURRENTLY i ON t (x)'",
        '"VACUUM"',
        "-- VACUUM",
        "/* VACUUM",
        "",
    ],
)
def test_any_other_statement_is_of_no_kind_and_refused_in_a_block(sql: str) -> None:
    assert recognise(sql) is None
    with pytest.raises(StatementError, match="belongs in the revision's transaction"):
        alone(sql)


@pytest.mark.parametrize("sql", ["VACUUM t; VACUUM u", "VACUUM t; SELECT 1;"])
def test_two_statements_in_one_text_are_refused(sql: str) -> None:
    with pytest.raises(StatementError, match="several statements"):
        alone(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX CONCURRENTLY i ON t (x) WHERE y = 'a;b';",
        "CREATE INDEX CONCURRENTLY i ON t (x) WHERE y = $q$a;b$q$ -- ;\n",
        r"CREATE INDEX CONCURRENTLY i ON t (x) WHERE y = E'\';' /* ; VACUUM */",
        'CREATE INDEX CONCURRENTLY "a;b" ON t (x)',
    ],
)
def test_a_semicolon_in_a_literal_a_name_or_a_comment_ends_nothing(sql: str) -> None:
    assert alone(sql).kind is Kind.CREATE_INDEX


def test_an_index_without_a_name_is_refused() -> None:
    with pytest.raises(StatementError, match="give the index a name"):
        alone("CREATE INDEX CONCURRENTLY ON t (x)")
