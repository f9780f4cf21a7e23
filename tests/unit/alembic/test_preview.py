"""The text of a preview: a plan's risks in a few lines, and its statements line by line."""

from pulumi_alembic.review.plan_review import (
    RESTORES,
    Finding,
    PlanReview,
    Rehearsed,
    RevisionReview,
    Severity,
    StatementReview,
)
from pulumi_alembic.review.plan_text import statements, summary
from pulumi_alembic.sql.locks import Effects, Lock


def revision(number: int, *found: StatementReview, **changes: str) -> RevisionReview:
    values = {"message": "does it", "file": "f.py", "checksum": "v1:0", "direction": "upgrade", **changes}
    return RevisionReview(f"r{number}", statements=found, **values)


def shown(*revisions: RevisionReview) -> list[str]:
    return summary(PlanReview("base", "r1", "upgrade", revisions=revisions))[:-2]


def test_of_each_table_that_is_there_the_strongest_lock_is_shown_once() -> None:
    first = StatementReview("a", effects=Effects((Lock("t", "SHARE"), Lock("made", "ACCESS EXCLUSIVE", new=True))))
    second = StatementReview("b", effects=Effects((Lock("t", "ACCESS EXCLUSIVE"), Lock("u", "SHARE"))))
    assert shown(revision(1, first, second)) == [
        "↑ r1 does it (2 statements)",
        "    locks     t: ACCESS EXCLUSIVE",
        "    locks     u: SHARE",
    ]


def test_effects_are_shown_only_of_tables_that_exist() -> None:
    effects = Effects((Lock("made", "SHARE", new=True),), ("t", "made"), ("u", "made"), ("table v",), ("DO block",))
    assert shown(revision(1, StatementReview("a", effects=effects)))[1:] == [
        "    rewrites  t",
        "    scans     u",
        "    deletes   table v",
        "    unknown   DO block",
    ]


def test_an_allowed_finding_is_shown_with_the_reason() -> None:
    found = Finding("slow", Severity.WARNING, "it is slow", excused="at night")
    assert shown(revision(1, StatementReview("a", findings=(found,))))[1:] == [
        "    warning   slow: it is slow (allowed: at night)"
    ]


def test_a_revision_that_runs_python_says_why() -> None:
    assert shown(revision(1, runs_python="line 9 reads rows")) == ["↑ r1 does it (runs Python, line 9 reads rows)"]


def test_of_very_many_revisions_those_in_the_middle_are_counted() -> None:
    lines = shown(*(revision(number) for number in range(300)))
    assert (len(lines), lines[19], lines[20], lines[21]) == (
        41,
        "↑ r19 does it (no statement)",
        "… 260 more revisions",
        "↑ r280 does it (no statement)",
    )


def test_statements_are_shown_line_by_line_as_they_are_behind_what_they_do() -> None:
    inside = StatementReview("\nUPDATE t\n   SET x = 'a  b'\n", effects=Effects((Lock("t", "ROW EXCLUSIVE"),)))
    review = PlanReview(
        "base", "r1", "upgrade", revisions=(revision(1, inside, StatementReview("VACUUM", outside=True)),)
    )
    assert statements(review) == {
        "upgrade r1": [
            "-- locks t: ROW EXCLUSIVE",
            "UPDATE t",
            "   SET x = 'a  b'",
            "-- outside the transaction",
            "VACUUM",
        ]
    }


def test_what_was_measured_is_shown_in_place_of_what_was_concluded() -> None:
    """The preview also shows other findings: created objects, and that the downgrade restores another schema."""
    concluded, measured = (Effects((Lock("t", mode),)) for mode in ("SHARE", "EXCLUSIVE"))
    statement = StatementReview("SQL", effects=concluded, measured=measured)
    seen = Rehearsed(made=("table u",), way_back="does not restore the same schema", left=("+ column t.x int",))
    revision = RevisionReview("r1", "does", "f", "v1:0", "upgrade", statements=(statement,), rehearsed=seen)
    review = PlanReview("base", "r1", "upgrade", rehearsed=True, revisions=(revision,))
    assert summary(review)[1:-1] == [
        "    creates   u",
        "    locks     t: EXCLUSIVE",
        "    downgrade does not restore the same schema",
        "        + column t.x int",
        "Rehearsed in a scratch database (its tables are empty)",
    ]
    assert statements(review)["upgrade r1"][:2] == ["-- locks t: EXCLUSIVE (measured)", "SQL"]


def test_a_rehearsal_with_some_of_the_tables_says_how_many_it_had() -> None:
    """The statement about the downgrade is limited to these tables."""
    revision = RevisionReview("r1", "does", "f", "v1:0", "upgrade", rehearsed=Rehearsed(way_back=RESTORES))
    review = PlanReview("base", "r1", "upgrade", rehearsed=True, copied="14 of 10,000 tables", revisions=(revision,))
    assert summary(review)[-2] == (
        "Rehearsed in a scratch database with the 14 of 10,000 tables that the plan can touch (all empty); "
        "the downgrade restores the same schema of these tables"
    )


def test_why_there_was_no_rehearsal_is_said() -> None:
    review = PlanReview("base", "r1", "upgrade", not_rehearsed="no pg_dump")
    assert summary(review)[0] == "Static analysis, not rehearsed: no pg_dump"


def test_a_lock_that_only_rows_show_is_not_said_to_be_measured() -> None:
    """A foreign key that cascades takes such a lock.

    A lock that does not depend on rows, and was not measured, is not shown.
    """
    cascade, strong = Lock("child", "ROW EXCLUSIVE"), Lock("other", "SHARE")
    parent = Lock("t", "ROW EXCLUSIVE")
    statement = StatementReview("SQL", effects=Effects((parent, cascade, strong)), measured=Effects((parent,)))
    review = RevisionReview("r1", "does", "f", "v1:0", "upgrade", statements=(statement,), rehearsed=Rehearsed())
    told = PlanReview("base", "r1", "upgrade", rehearsed=True, revisions=(review,))
    assert statements(told)["upgrade r1"] == [
        "-- locks t: ROW EXCLUSIVE (measured)",
        "-- locks child: ROW EXCLUSIVE (static analysis)",
        "SQL",
    ]
    assert summary(told)[1] == "    locks     t, child: ROW EXCLUSIVE"
