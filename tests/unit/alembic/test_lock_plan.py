"""The strong locks of a revision are known before it runs: tables, modes, and the statement that needs them first."""

import pytest

from pulumi_alembic.review import lock_forecast
from pulumi_alembic.review.plan_review import PlanReview, Rehearsed, RevisionReview, StatementReview
from pulumi_alembic.sql.catalog import Catalog, Constraint, Relation
from pulumi_alembic.sql.lock_plan import LockPlan, lock_plan
from pulumi_alembic.sql.locks import MODES, STRONG, Effects, Lock, conflicting

CATALOG = Catalog(
    {
        each.name: each
        for each in (
            Relation("app.parent", "p"),
            Relation("app.part", parents=("app.parent",)),
            Relation("app.users"),
            Relation("app.tasks", constraints=(Constraint("tasks_fkey", "f", ("owner",), "app.users"),)),
            Relation("app.names", "v", uses=(("app.users", "name"),)),
        )
    },
    search_path=("app",),
)


def planned(*statements: str, catalog: Catalog = CATALOG) -> LockPlan:
    return lock_plan([(sql, False, None) for sql in statements], catalog)[0]


@pytest.mark.parametrize(
    ("statements", "groups"),
    [
        (["ALTER TABLE tasks ADD x int"], [("ACCESS EXCLUSIVE", ["app.tasks"])]),
        (["ALTER TABLE parent ADD x int"], [("ACCESS EXCLUSIVE", ["app.parent", "app.part"])]),
        (["CREATE INDEX ON tasks (owner)"], [("SHARE", ["app.tasks"])]),
        (["CREATE INDEX ON tasks (owner)", "ALTER TABLE tasks ADD x int"], [("ACCESS EXCLUSIVE", ["app.tasks"])]),
        (
            ["ALTER TABLE tasks ADD x int", "CREATE TABLE new (id int REFERENCES users)"],
            [("SHARE ROW EXCLUSIVE", ["app.users"]), ("ACCESS EXCLUSIVE", ["app.tasks"])],
        ),
        (["DROP TABLE tasks"], [("ACCESS EXCLUSIVE", ["app.tasks", "app.users"])]),
        # No other session knows a table that the revision creates, or the new name of one that it renames.
        (["CREATE TABLE new (id int)", "ALTER TABLE new ADD x int", "DROP TABLE new"], []),
        (
            ["ALTER TABLE tasks RENAME TO jobs", "ALTER TABLE jobs ADD x int"],
            [("ACCESS EXCLUSIVE", ["app.tasks"])],
        ),
        # Neither statement blocks readers or writers, and LOCK TABLE does not lock only a view.
        (["UPDATE tasks SET owner = 1", "COMMENT ON TABLE tasks IS ''"], []),
        (["DROP VIEW names"], []),
    ],
)
def test_the_locks_are_those_on_tables_from_before_the_revision(
    statements: list[str], groups: list[tuple[str, list[str]]]
) -> None:
    assert planned(*statements).groups == tuple((mode, tuple(tables)) for mode, tables in groups)


def test_they_are_taken_before_the_first_statement_that_needs_one() -> None:
    """The locks are not taken earlier: the statements before it, such as an UPDATE, block no reader."""
    plan = planned("UPDATE tasks SET owner = 1", "ALTER TABLE users ADD x int", "ALTER TABLE tasks ADD x int")
    assert plan.statement == "ALTER TABLE users ADD x int"
    assert plan.tables == ("app.tasks", "app.users")


def test_a_statement_outside_the_transaction_waits_for_its_own() -> None:
    sql = "DROP INDEX CONCURRENTLY some_index"
    assert lock_plan([(sql, True, None)], CATALOG)[0] == LockPlan()


def test_what_no_text_shows_is_unknown_and_the_rest_is_taken_all_the_same() -> None:
    plan = planned("DO $$BEGIN END$$", "ALTER TABLE tasks ADD x int")
    assert plan.unknown == "DO block"
    assert plan.tables == ("app.tasks",)


def test_after_an_unknown_revision_each_table_is_assumed_to_exist() -> None:
    review = PlanReview(
        "one",
        "two",
        "upgrade",
        revisions=(
            RevisionReview("one", "", "", "", "upgrade", runs_python="line 5: reads what the database answers"),
            RevisionReview(
                "two",
                "",
                "",
                "",
                "upgrade",
                statements=tuple(
                    StatementReview(sql)
                    for sql in ("ALTER TABLE made ADD x int", "CREATE TABLE new ()", "DROP TABLE new")
                ),
            ),
        ),
    )
    plans = lock_forecast.of_review(review, CATALOG)
    assert plans["one"] == LockPlan(unknown="line 5: reads what the database answers")
    assert plans["two"].tables == ("app.made",)


def test_what_a_rehearsal_measured_counts_instead_of_the_text() -> None:
    measured = Effects((Lock("app.users", "ACCESS EXCLUSIVE"), Lock("app.new", "ACCESS EXCLUSIVE", new=True)))
    sent = StatementReview("DO $$…$$", effects=Effects(unknown=("DO block",)), measured=measured)
    seen = Rehearsed(sent=(sent,))
    revision = RevisionReview("one", "", "", "", "upgrade", runs_python="line 5: a reason", rehearsed=seen)
    plan = lock_forecast.of_review(PlanReview("base", "one", "upgrade", revisions=(revision,)), CATALOG)["one"]
    assert plan == LockPlan("DO $$…$$", (("ACCESS EXCLUSIVE", ("app.users",)),))


def test_a_strong_mode_conflicts_with_those_that_the_manual_says() -> None:
    assert {mode: [each for each in MODES if each not in conflicting(mode)] for mode in STRONG} == {
        "SHARE": ["ACCESS SHARE", "ROW SHARE", "SHARE"],
        "SHARE ROW EXCLUSIVE": ["ACCESS SHARE", "ROW SHARE"],
        "EXCLUSIVE": ["ACCESS SHARE"],
        "ACCESS EXCLUSIVE": [],
    }
