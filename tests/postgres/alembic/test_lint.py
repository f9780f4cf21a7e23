"""Each rule finds a bad statement, with a severity by the table's size. Its suggestion runs and is not found."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.lint.advice import NEXT
from pulumi_alembic.review.lint.rules import RULES, Scale
from pulumi_alembic.review.plan_review import Finding, PlanReview, Severity
from pulumi_alembic.sql import catalog
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect

ONE = "20250101_001"
LARGE = Settings.parse({"large_rows": "100"})
SCHEMA = """
CREATE TABLE parent (id bigint PRIMARY KEY);
CREATE TABLE t (id bigint PRIMARY KEY, a integer, b varchar(50), other bigint, kept integer);
CREATE INDEX t_a ON t (a);
CREATE TABLE child (t_id bigint REFERENCES t);
CREATE TABLE p (id bigint, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE p_2024 PARTITION OF p FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE INDEX p_id_at_idx ON p (id, at);
CREATE TABLE p_2025 PARTITION OF p FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE "Odd ""One" ("The Key" bigint PRIMARY KEY, "user" text);
CREATE TYPE mood AS ENUM ('glad', 'sad');
CREATE DOMAIN label AS text;
"""
FILL = """
INSERT INTO parent SELECT n FROM generate_series({first}, {last}) n;
INSERT INTO t SELECT n, n, n, n, n FROM generate_series({first}, {last}) n;
INSERT INTO p SELECT n, date '2024-06-01' + n * 7 % 400 FROM generate_series({first}, {last}) n;
INSERT INTO "Odd ""One" SELECT n, n FROM generate_series({first}, {last}) n;
ANALYZE "Odd ""One"; ANALYZE parent; ANALYZE t; ANALYZE p;
"""


@dataclass(frozen=True)
class Case:
    """A statement that breaks a rule. `runs` says whether the suggestion is a script, and not only advice."""

    rule: str
    sql: str
    runs: bool = True
    outside: bool = False


CASES = [
    Case("require-concurrent-index-creation", "CREATE INDEX i ON t (a, lower(b)) WHERE a > 1"),
    Case("require-concurrent-index-creation", "CREATE INDEX ON app.t (a)"),
    Case("require-concurrent-index-creation", "CREATE INDEX i ON p (id)"),
    Case("require-concurrent-index-deletion", "DROP INDEX t_a"),
    Case("require-concurrent-index-deletion", "DROP INDEX p_id_at_idx", runs=False),
    Case("require-concurrent-reindex", "REINDEX TABLE t"),
    Case("require-concurrent-partition-detach", "ALTER TABLE p DETACH PARTITION p_2025"),
    Case("adding-foreign-key-constraint", "ALTER TABLE t ADD FOREIGN KEY (other) REFERENCES parent ON DELETE CASCADE"),
    Case("constraint-missing-not-valid", "ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0)"),
    Case("constraint-missing-not-valid", "ALTER TABLE t ADD COLUMN d integer CHECK (d > 0)"),
    Case("disallowed-unique-constraint", "ALTER TABLE t ADD CONSTRAINT once UNIQUE (a, b)"),
    Case("disallowed-unique-constraint", "ALTER TABLE t ADD COLUMN d integer UNIQUE"),
    Case("adding-not-nullable-field", "ALTER TABLE t ALTER COLUMN a SET NOT NULL"),
    Case("adding-required-field", "ALTER TABLE t ADD COLUMN d text NOT NULL"),
    Case("adding-field-with-default", "ALTER TABLE t ADD COLUMN d uuid NOT NULL DEFAULT gen_random_uuid()"),
    Case("adding-field-with-default", "ALTER TABLE t ADD COLUMN d integer GENERATED ALWAYS AS (a * 2) STORED"),
    Case("adding-serial-field", "ALTER TABLE app.t ADD COLUMN d bigserial"),
    Case("adding-identity", "ALTER TABLE t ADD COLUMN d bigint GENERATED ALWAYS AS IDENTITY", runs=False),
    Case("unbatched-update", "UPDATE t AS x SET a = x.kept", runs=False),
    Case("disallowed-unique-constraint", "ALTER TABLE p ADD UNIQUE (id, at)", runs=False),
    Case("adding-foreign-key-constraint", "ALTER TABLE p ADD FOREIGN KEY (id) REFERENCES parent", runs=False),
    Case("disallowed-unique-constraint", "ALTER TABLE t ADD UNIQUE (a) INCLUDE (b) DEFERRABLE INITIALLY DEFERRED"),
    Case("adding-required-field", "ALTER TABLE t ADD COLUMN d bigint NOT NULL REFERENCES parent", runs=False),
    Case(
        "inline-foreign-key", "ALTER TABLE t ADD COLUMN d bigint CONSTRAINT c REFERENCES parent MATCH FULL DEFERRABLE"
    ),
    Case(
        "constraint-missing-not-valid",
        'ALTER TABLE t ADD COLUMN d text COLLATE "C" DEFAULT 9 NOT NULL CHECK (length(d) > 0)',
    ),
    Case("changing-column-type", "ALTER TABLE t ALTER COLUMN a TYPE bigint"),
    Case("inline-foreign-key", "CREATE TABLE c (id bigint PRIMARY KEY, t_id bigint NOT NULL REFERENCES t)"),
    Case("inline-foreign-key", "ALTER TABLE t ADD COLUMN d bigint REFERENCES parent ON DELETE SET NULL"),
    Case("unbatched-update", "UPDATE t SET a = a + 1, b = 'x'"),
    Case("unbatched-update", """UPDATE "Odd ""One" SET "user" = 'x:y % "z" \\'"""),
    Case("adding-required-field", 'ALTER TABLE "Odd ""One" ADD COLUMN "order" text NOT NULL'),
    Case("constraint-missing-not-valid", "ALTER TABLE t ADD CONSTRAINT colon CHECK (b <> '\\:x % ''y''')"),
    Case("unbatched-delete", "DELETE FROM t", runs=False),
    Case("endless-backfill", "UPDATE t SET a = 1 WHERE b = 'x' /* backfill */", runs=False),
    Case("truncate", "TRUNCATE t, child", runs=False),
    Case("vacuum-full", "VACUUM FULL t", outside=True),
    Case("cluster", "CLUSTER t USING t_a"),
    Case("lock-table", "LOCK TABLE t", runs=False),
    Case("table-rewrite", "ALTER TABLE t SET UNLOGGED", runs=False),
    Case("blocking-scan", "ALTER TABLE t ADD COLUMN d label; ALTER DOMAIN label SET NOT NULL", runs=False),
    Case("destroys-data", "ALTER TABLE t DROP COLUMN kept", runs=False),
    Case("breaks-running-code", "ALTER TABLE t DROP COLUMN kept", runs=False),
    Case("destroys-data", "DROP TABLE t CASCADE", runs=False),
    Case("index-if-not-exists", "CREATE INDEX IF NOT EXISTS i ON t (b)"),
    Case("prefer-jsonb", "CREATE TABLE c (id bigint PRIMARY KEY, data json)"),
    Case("prefer-jsonb", "ALTER TABLE t ADD COLUMN d json"),
    Case("grant-to-public", "GRANT SELECT ON t TO PUBLIC", runs=False),
    Case(
        "security-definer-search-path",
        "CREATE FUNCTION f(n integer) RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT n'",
    ),
    Case("ban-char-field", "CREATE TABLE c (id bigint PRIMARY KEY, code char(3))"),
    Case("prefer-timestamp-tz", "CREATE TABLE c (id bigint PRIMARY KEY, at timestamp NOT NULL)"),
    Case("prefer-identity", "CREATE TABLE c (id serial PRIMARY KEY)"),
    Case("renaming-column", "ALTER TABLE t RENAME COLUMN a TO z"),
    Case("renaming-table", "ALTER TABLE t RENAME TO u"),
    Case("ban-truncate-cascade", "TRUNCATE t CASCADE", runs=False),
    Case("ban-create-domain-with-constraint", "CREATE DOMAIN d AS text CHECK (VALUE <> '')", runs=False),
    Case("ban-alter-domain-with-add-constraint", "ALTER DOMAIN label ADD CHECK (VALUE <> '')", runs=False),
    Case("identifier-too-long", f"CREATE TABLE {'c' * 70} (id bigint)", runs=False),
    Case("require-enum-value-ordering", "ALTER TYPE mood ADD VALUE 'mad'", runs=False),
]


@pytest.fixture
def one(empty_target: Target) -> Target:
    """Tables without rows."""
    empty_target.write(ONE, None, f"op.execute({SCHEMA!r})")
    empty_target.migrate(ONE)
    return empty_target


def fill(target: Target, first: int, last: int) -> None:
    with connect(target.url) as connection:
        for statement in FILL.format(first=first, last=last).split(";"):
            connection.execute(statement.encode())
        connection.commit()


def write(target: Target, blocks: list[str], first: int = 2) -> str:
    """Write a revision for each block, in place of the pending ones, and return the id of the last."""
    id, down = ONE, ONE
    for path in target.directory.glob("versions/*.py"):
        if not path.name.startswith(ONE):
            path.unlink()
    for number, body in enumerate(blocks, first):
        id = f"20250101_{number:03}"
        path = target.write(id, down, body.replace("\n", "\n    "))
        path.write_text(
            path.read_text().replace("from alembic", "from pulumi_alembic import batched_update\nfrom alembic")
        )
        down = id
    return id


def review(target: Target, revision: str, settings: Settings = LARGE) -> PlanReview:
    _, found = review_from_database(Job(target.url, target.directory, revision), settings)
    return found


def findings(found: PlanReview) -> Iterator[Finding]:
    for revision in found.revisions:
        yield from revision.findings
        for statement in revision.statements:
            yield from statement.findings


def statement(case: Case) -> str:
    line = f"op.execute({case.sql!r})"
    return f"with op.get_context().autocommit_block():\n    {line}" if case.outside else line


@pytest.mark.few(6)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}: {case.sql[:40]}")
def test_a_bad_statement_is_found_and_what_is_suggested_runs_and_is_not(one: Target, case: Case) -> None:
    write(one, [statement(case)])
    head = "20250101_002"
    seen: list[Severity] = []
    for first, last in ((0, 0), (1, 20), (21, 200)):
        if last:
            fill(one, first, last)
        [found] = [each for each in findings(review(one, head)) if each.rule == case.rule]
        seen.append(found.severity)
    rule = RULES[case.rule]
    assert tuple(seen) == (rule.levels if rule.scale is Scale.SIZE else rule.levels[:1] * 3)
    assert rule.why in found.message
    if case.runs:
        # The files have other names, because Python can reuse the compiled script of a file written in the same second.
        head = write(one, found.suggestion.split(f"\n{NEXT}\n"), first=10)
        again = review(one, head)
        assert not any(each.runs_python for each in again.revisions)
        assert [each.message for each in findings(again) if each.rule == case.rule] == []
        if "PostgreSQL 14" not in found.suggestion or one.query("SHOW server_version_num") >= [("140000",)]:
            one.migrate(head)
    else:
        assert found.suggestion.startswith("#")


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("sql", "kept"),
    [
        (
            'ALTER TABLE t ADD COLUMN d text COLLATE "C" DEFAULT 1 NOT NULL CONSTRAINT c CHECK (d > 0)',
            ['ADD COLUMN d text DEFAULT 1 NOT NULL COLLATE "C"', "ADD CONSTRAINT c CHECK (d > 0) NOT VALID"],
        ),
        (
            "ALTER TABLE t ADD COLUMN d json DEFAULT 'null' CONSTRAINT c REFERENCES parent MATCH FULL "
            "ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED",
            [
                "ADD COLUMN d json DEFAULT 'null'",
                "ADD CONSTRAINT c FOREIGN KEY (d) REFERENCES parent MATCH FULL ON DELETE SET NULL "
                "DEFERRABLE INITIALLY DEFERRED NOT VALID",
            ],
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT c UNIQUE (a) INCLUDE (b) DEFERRABLE INITIALLY DEFERRED",
            ["INDEX CONCURRENTLY c ON t (a) INCLUDE (b)", "c UNIQUE USING INDEX c DEFERRABLE INITIALLY DEFERRED"],
        ),
        ("ALTER TABLE t ADD COLUMN d int CHECK (d > 0) REFERENCES parent", ["# add the column with nothing that"]),
        ("ALTER TABLE t ADD UNIQUE (a) WITH (fillfactor = 70)", ["# build such a unique index CONCURRENTLY"]),
    ],
)
def test_a_suggestion_keeps_all_that_the_statement_says_or_is_in_words(one: Target, sql: str, kept: list[str]) -> None:
    head = write(one, [f"op.execute({sql!r})"])
    for found in findings(review(one, head)):
        if RULES[found.rule].scale is Scale.SIZE:
            assert [each for each in kept if each not in found.suggestion] == [], found.suggestion


@pytest.mark.few(1)
@pytest.mark.parametrize("on", ["a", "lower(b), a", "a, (a + 1), (kept * 2)", '(b::text) COLLATE "C"', "a) INCLUDE (b"])
def test_an_index_is_called_as_postgresql_calls_it(one: Target, on: str) -> None:
    sql = f"CREATE INDEX ON t ({on})"
    [found] = [each for each in findings(review(one, write(one, [f"op.execute({sql!r})"]))) if "creation" in each.rule]
    before = "SELECT relname FROM pg_class WHERE relkind = 'i' AND relname LIKE 't\\_%' AND relname <> 't_a'"
    known = set(one.query(before))
    one.migrate("20250101_002")
    [(name,)] = set(one.query(before)) - known
    assert found.message.startswith(f"builds index {name} on app.t")


def test_what_is_done_to_a_table_is_one_finding_and_not_one_for_each_partition(one: Target) -> None:
    fill(one, 1, 20)
    for sql in ("ALTER TABLE p ADD CHECK (id > 0)", "ALTER TABLE p ADD UNIQUE (id, at)", "CREATE INDEX i ON p (at)"):
        head = write(one, [f"op.execute({sql!r})"])
        sized = [each.rule for each in findings(review(one, head)) if RULES[each.rule].scale is Scale.SIZE]
        assert len(sized) == 1, sized


def test_every_rule_about_statements_has_a_case() -> None:
    practices = {
        "unproven-revision",
        "production-without-backup",
        "other-tools",
        "bad-excuse",
        "broken-rule",
        "unused-excuse",
        "runs-python",
        "needless-contract",
        "expand-behind-contract",
    }
    of_statements = {name for name, rule in RULES.items() if rule.scale is not Scale.STACK} - practices
    assert of_statements - {case.rule for case in CASES} == {"ban-drop-database", "syntax-error"}


def test_what_the_revision_itself_has_made_is_nobodys_table(one: Target) -> None:
    made = "CREATE TABLE mine (id bigint PRIMARY KEY, other bigint)"
    lines = [
        made,
        "CREATE INDEX i ON mine (other)",
        "ALTER TABLE mine ALTER other SET NOT NULL",
        "UPDATE mine SET id = 1",
    ]
    lines += ["ALTER TABLE mine RENAME other TO another", "ALTER TABLE mine RENAME TO yours"]
    head = write(one, ["\n".join(f"op.execute({each!r})" for each in lines)])
    assert {each.rule for each in findings(review(one, head))} == {"irreversible-downgrade", "undocumented-revision"}


def test_a_table_is_as_large_by_another_name_and_in_another_schema(one: Target) -> None:
    fill(one, 1, 200)
    first = ["ALTER TABLE t RENAME TO u", "CREATE INDEX one ON u (a)", "ALTER TABLE u RENAME TO v"]
    second = ["CREATE SCHEMA more", "ALTER TABLE v SET SCHEMA more", "CREATE INDEX two ON more.v (a)"]
    second += ["CREATE TABLE t (id bigint PRIMARY KEY, a integer)", "CREATE INDEX three ON t (a)"]
    head = write(one, ["\n".join(f"op.execute({each!r})" for each in lines) for lines in (first, second)])
    found = [each for each in findings(review(one, head)) if each.rule == "require-concurrent-index-creation"]
    assert [(each.severity, each.message.partition(":")[0]) for each in found] == [
        ("error", "builds index one on app.u (fewer than 10,000 rows)"),
        ("error", "builds index two on more.v (fewer than 10,000 rows)"),
    ]


def test_a_table_whose_partitions_are_small_each_is_large_together(one: Target) -> None:
    fill(one, 1, 120)
    head = write(one, [statement(Case("", "CREATE INDEX i ON p (id)"))])
    [found] = [each for each in findings(review(one, head)) if each.rule == "require-concurrent-index-creation"]
    assert found.severity is Severity.ERROR
    parts = one.query("SELECT reltuples FROM pg_class WHERE relname LIKE 'p_20__' ORDER BY 1")
    assert all(0 < rows < 120 for (rows,) in parts)  # type: ignore[operator]


def test_a_table_that_was_never_analysed_is_judged_by_its_pages(one: Target) -> None:
    with connect(one.url) as connection:
        connection.execute("CREATE TABLE big AS SELECT n, repeat('x', 900) AS x FROM generate_series(1, 100) n")
        connection.execute("CREATE INDEX ON big (n)")
        connection.commit()
    head = write(one, [statement(Case("", "ALTER TABLE big ALTER n TYPE bigint"))])

    def severity(settings: Settings) -> Severity:
        [found] = [each for each in findings(review(one, head, settings)) if each.rule == "changing-column-type"]
        return found.severity

    assert severity(Settings.parse({"large_size": "50kB"})) is Severity.ERROR
    assert severity(Settings.parse({"large_size": "1GB"})) is Severity.WARNING


def test_what_the_statistics_do_not_know_is_never_taken_for_empty(one: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a crash or a failover there are rows without statistics. Only a superuser can reset statistics."""
    monkeypatch.setattr(catalog, "QUERY", catalog.QUERY.replace("pg_stat_get_live_tuples(oid)", "0"))
    with connect(one.url) as connection:
        for name in ("big", "dead", "none"):
            connection.execute(f"CREATE TABLE {name} (n bigint) WITH (autovacuum_enabled = false)".encode())
        connection.execute("INSERT INTO big SELECT generate_series(1, 30000)")
        connection.execute("INSERT INTO dead SELECT 1; DELETE FROM dead")
        connection.commit()
    sql = "; ".join(f"ALTER TABLE {name} ALTER n TYPE text" for name in ("big", "dead", "none"))
    head = write(one, [statement(Case("", sql))])

    def told(settings: Settings = LARGE) -> list[tuple[str, str]]:
        found = [each for each in findings(review(one, head, settings)) if each.rule == "changing-column-type"]
        return [(each.severity, each.message.partition("(")[2].partition(")")[0]) for each in found]

    assert told() == [("warning", "never analysed, more than 1 MB"), *[("info", "which is empty")] * 2]
    assert told(Settings.parse({"large_size": "1MB"}))[0] == ("error", "never analysed, more than 1 MB")
    with connect(one.url) as other:
        other.execute("LOCK TABLE big, none IN ACCESS EXCLUSIVE MODE")
        unknown = ("warning", "of unknown size")
        assert told() == [unknown, ("info", "which is empty"), unknown]
        error = Settings.parse({"changing-column-type": "error"})
        assert [severity for severity, _ in told(error)] == ["error", "info", "error"]


def test_reading_sizes_waits_for_no_lock(one: Target) -> None:
    """The whole review, with sizes, runs while another session holds the strongest lock on the table."""
    head = write(one, [statement(Case("", "ALTER TABLE t ALTER a TYPE bigint"))])
    with connect(one.url) as other:
        other.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        assert "changing-column-type" in {each.rule for each in findings(review(one, head))}


def test_what_hides_an_invalid_index_says_that_it_is_there(one: Target) -> None:
    fill(one, 1, 20)
    with connect(one.url) as connection:
        connection.execute("INSERT INTO t SELECT id + 1000, a, b, other, kept FROM t")
        connection.commit()
        connection.autocommit = True
        with pytest.raises(Exception, match="could not create unique index"):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY i ON t (a)")
    head = write(one, ["op.execute('CREATE INDEX IF NOT EXISTS i ON t (a)')"])
    [found] = [each for each in findings(review(one, head)) if "if-not" in each.rule]
    assert "index i on app.t, which is there, invalid, from an interrupted build" in found.message


def test_a_downgrade_is_told_what_it_destroys_and_not_how_it_is_written(one: Target) -> None:
    down = "op.execute('DROP TABLE made'); op.execute('ALTER TABLE t ADD d timestamp')"
    up = "op.execute('CREATE TABLE made (id bigint PRIMARY KEY)'); op.execute('INSERT INTO made VALUES (1)')"
    one.write("20250101_002", ONE, up, down)
    one.migrate("20250101_002")
    with connect(one.url) as connection:
        connection.execute("ANALYZE made")
        connection.commit()
    [found] = findings(review(one, ONE))
    assert (found.rule, found.severity) == ("destroys-data", Severity.WARNING)
    assert found.message.startswith("deletes table app.made (fewer than 10,000 rows)")
