"""An assertion of a revision stops a plan before anything runs if it can, and in any case in its transaction."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_alembic.errors import AssertionFailed, RevisionFailed
from pulumi_alembic.migrate.planner import read_revision
from pulumi_alembic.review import build
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.review.plan_text import summary
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.stack import Refused, Stack
from tests.postgres.alembic.test_preserved_data import write as send

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"
EACH_NAMED = "SELECT NOT EXISTS (SELECT FROM t WHERE name IS NULL)"
UNNAMED = "INSERT INTO t VALUES (1, NULL)"


def ensures(target: Target, id: str, down: str, *lines: str) -> Path:
    path = target.write(id, down, "; ".join(lines))
    path.write_text(path.read_text().replace("import op", "import op\nfrom pulumi_alembic import ensure"))
    return path


def named(query: str = EACH_NAMED, message: str = "each row has a name") -> str:
    return f"ensure({query!r}, {message!r})"


@pytest.fixture
def tables(empty_target: Target) -> Target:
    creates = "op.execute('CREATE TABLE t (id int PRIMARY KEY, name text); CREATE TABLE u (id int PRIMARY KEY)')"
    empty_target.write(ONE, None, creates)
    empty_target.migrate(ONE)
    return empty_target


def review(target: Target, revision: str) -> PlanReview:
    return build.review_from_database(target.job(revision), Settings())[1]


def test_a_false_assertion_fails_its_revision_until_it_is_true(tables: Target) -> None:
    script = ensures(tables, TWO, ONE, "op.execute('CREATE TABLE v (id int)')", named())
    send(tables, UNNAMED)
    with pytest.raises(
        RevisionFailed, match=r"(?s)line 7\n  each row has a name\n  rolled back.*Correct the data"
    ) as caught:
        tables.migrate(TWO)
    assert script.name in str(caught.value)
    assert tables.query("SELECT to_regclass('v')") == [(None,)]
    send(tables, "UPDATE t SET name = 'one'")
    assert tables.migrate(TWO) == TWO


def test_the_preview_reports_it_and_the_update_runs_nothing(tables: Target) -> None:
    ensures(tables, TWO, ONE, "op.execute('ALTER TABLE u ADD COLUMN x int')")
    ensures(tables, THREE, TWO, named(), "op.execute('ALTER TABLE t ALTER name SET NOT NULL')")
    send(tables, UNNAMED)
    lines = summary(review(tables, THREE))
    assert "    ensures   each row has a name" in lines
    assert "    error     not true: each row has a name" in lines
    stack = Stack(tables.url)
    with pytest.raises(
        (Refused, AssertionFailed), match=r"(?s)nothing was run:.*each row has a name.*Correct the data"
    ):
        stack.up(tables.directory, THREE)
    assert read_revision(tables.url) == ONE
    send(tables, "UPDATE t SET name = 'one'")
    assert stack.up(tables.directory, THREE)


@pytest.mark.parametrize(
    "before",
    ["op.execute('DELETE FROM t WHERE name IS NULL')", "op.execute('DO $$ BEGIN DELETE FROM t; END $$')"],
)
def test_what_the_plan_can_still_make_true_is_left_to_the_revision(tables: Target, before: str) -> None:
    ensures(tables, TWO, ONE, before, named())
    send(tables, UNNAMED)
    assert review(tables, TWO).revisions[0].unmet == ()
    tables.migrate(TWO, allow_data_loss=frozenset({TWO}))


def test_the_digest_covers_the_query_and_its_message(tables: Target) -> None:
    digests = set()
    for line in (named(), named(f"{EACH_NAMED} AND true"), named(message="no row lacks a name"), named()):
        ensures(tables, TWO, ONE, line)
        digests.add(review(tables, TWO).digest.split("-")[5])
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (named("UPDATE t SET name = 'x' RETURNING true"), "one SELECT, which changes and locks nothing"),
        (named("SELECT 1, true"), "one column"),
        (named(message=" "), "needs a message"),
        (named("SELECT count(*) FROM t"), "each row has a name"),
        (named("SELECT true FROM t"), "each row has a name"),
    ],
)
def test_another_query_is_refused(tables: Target, line: str, message: str) -> None:
    ensures(tables, TWO, ONE, line)
    with pytest.raises(RevisionFailed, match=message):
        tables.migrate(TWO)


@pytest.mark.parametrize("end", ["", ";", " -- all of them", "; -- all of them"])
def test_psql_fails_by_the_printed_sql_too(tables: Target, end: str) -> None:
    ensures(tables, TWO, ONE, named(f"{EACH_NAMED} AND ':x' LIKE '%%x'{end}", "100 % of it's rows"))
    printed = tables.alembic("upgrade", f"{ONE}:{TWO}", "--sql")
    block = printed[printed.index("DO $ensure$") : printed.index("END $ensure$") + len("END $ensure$")]
    send(tables, block)
    send(tables, UNNAMED)
    with pytest.raises(Exception, match="100 % of it's rows"):
        send(tables, block)
