"""A plan review survives its JSON. Any other document is refused with the place of the first error."""

import json
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.review.plan_review import (
    Finding,
    PlanReview,
    Rehearsed,
    RevisionReview,
    Severity,
    StatementReview,
    differences,
)
from pulumi_alembic.sql.locks import Effects, Lock
from pulumi_alembic.sql.tables import ColumnChange, ForeignKey, TableChange, TableState

TEXT = st.text(max_size=8)


def tuples(part: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(part, max_size=2).map(tuple)


EFFECTS = st.builds(Effects, tuples(st.builds(Lock, TEXT, TEXT)), tuples(TEXT), tuples(TEXT), tuples(TEXT))
FINDINGS = tuples(st.builds(Finding, TEXT, st.sampled_from(Severity), TEXT, TEXT, TEXT, tuples(TEXT)))
STATEMENTS = tuples(st.builds(StatementReview, TEXT, st.booleans(), EFFECTS, FINDINGS, st.none() | EFFECTS))
NAMES = tuples(TEXT)
REHEARSED = st.none() | st.builds(Rehearsed, STATEMENTS, NAMES, NAMES, NAMES, TEXT, TEXT, NAMES)
REVISIONS = tuples(
    st.builds(
        RevisionReview,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        TEXT,
        STATEMENTS,
        FINDINGS,
        NAMES,
        REHEARSED,
        keeps=NAMES,
        puts_back=NAMES,
    )
)
COLUMNS = tuples(st.builds(ColumnChange, TEXT, TEXT, st.booleans(), TEXT, TEXT))
STATES = st.none() | st.builds(TableState, COLUMNS, tuples(st.builds(ForeignKey, TEXT, tuples(TEXT))))
TABLES = tuples(st.builds(TableChange, TEXT, STATES, STATES, TEXT))
REVIEWS = st.builds(PlanReview, TEXT, TEXT, TEXT, TEXT, st.booleans(), REVISIONS, TABLES, TEXT)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(REVIEWS)
def test_an_account_is_the_same_after_its_json(review: PlanReview) -> None:
    assert PlanReview.from_json(json.loads(json.dumps(review.to_json()))) == review


WHOLE = {"origin": "base", "target": "a", "direction": "upgrade", "revisions": [{}]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], r"plan is not an object"),
        ({**WHOLE, "revisions": {}}, r"plan\.revisions is not a list"),
        (WHOLE, r"plan\.revisions\[0\] lacks one of id"),
        ({**WHOLE, "target": 1}, r"plan\.target is not a text"),
    ],
)
def test_another_document_is_refused_with_its_place(document: object, message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        PlanReview.from_json(document)


def test_a_key_that_a_newer_version_wrote_is_passed_over() -> None:
    document = {**WHOLE, "revisions": [], "more": 1}
    assert PlanReview.from_json(document) == PlanReview("base", "a", "upgrade")


def reworded(value: Any) -> Any:
    """Return a review with another wording of every text for people. No text is added and none is removed."""
    words = {
        Finding: ("message", "suggestion", "excused"),
        Effects: ("unknown",),
        RevisionReview: ("message", "runs_python", "losses", "keeps", "puts_back", "unmet"),
        PlanReview: ("not_rehearsed",),
    }
    if isinstance(value, tuple):
        return tuple(reworded(each) for each in value)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changes: dict[str, Any] = {each.name: reworded(getattr(value, each.name)) for each in fields(value)}
    for name in words.get(type(value), ()):
        old = changes[name]
        changes[name] = (
            tuple(f"{each}, in better words" for each in old) if isinstance(old, tuple) else old and old + "!"
        )
    return replace(value, **changes)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(REVIEWS)
def test_a_digest_is_the_same_when_every_message_is_another(review: PlanReview) -> None:
    assert reworded(review).digest == review.digest


STATEMENT = StatementReview("ALTER TABLE t ADD x int", effects=Effects((Lock("t", "ACCESS EXCLUSIVE"),)))
REVISION = RevisionReview("r1", "does it", "versions/r1.py", "v1:0", "upgrade", statements=(STATEMENT,))
ACCOUNT = PlanReview("base", "r1", "upgrade", "host:5432/app", revisions=(REVISION,))
FINDING = Finding("rule", Severity.WARNING, "it is slow")


def with_revision(**changes: Any) -> PlanReview:
    return replace(ACCOUNT, revisions=(replace(REVISION, **changes),))


def with_statement(**changes: Any) -> PlanReview:
    return with_revision(statements=(replace(STATEMENT, **changes),))


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        (replace(ACCOUNT, database="other:5432/app"), ["database"]),
        (replace(ACCOUNT, origin="r0"), ["heads"]),
        (replace(ACCOUNT, target="r2"), ["target"]),
        (replace(ACCOUNT, direction="downgrade"), ["target"]),
        (with_revision(checksum="v1:1"), ["scripts"]),
        (with_revision(runs_python="line 3 reads rows"), ["statements"]),
        (with_statement(sql="ALTER TABLE t ADD y int"), ["statements"]),
        (with_statement(outside=True), ["statements"]),
        (with_statement(effects=Effects((Lock("t", "SHARE"),))), ["statements"]),
        (with_statement(findings=(FINDING,)), ["findings"]),
        (with_revision(findings=(FINDING,)), ["findings"]),
        (with_revision(findings=(replace(FINDING, excused="at night"),)), ["findings"]),
        (with_statement(effects=Effects((Lock("u", "ACCESS EXCLUSIVE"),))), ["statements"]),
        (with_statement(effects=replace(STATEMENT.effects, rewrites=("t",))), ["statements"]),
        (with_statement(effects=replace(STATEMENT.effects, scans=("t",))), ["statements"]),
        (with_statement(effects=replace(STATEMENT.effects, destroys=("table t",))), ["statements"]),
        (with_statement(effects=replace(STATEMENT.effects, unknown=("DO block",))), ["statements"]),
    ],
)
def test_a_digest_tells_which_part_of_the_plan_is_another(changed: PlanReview, parts: list[str]) -> None:
    assert changed.digest != ACCOUNT.digest
    assert differences(ACCOUNT.digest, changed.digest) == parts


@pytest.mark.parametrize(
    "changed", [{"rule": "other"}, {"severity": Severity.ERROR}, {"tables": ("app.t",)}, {"excused": "at night"}]
)
def test_a_finding_of_another_rule_severity_or_table_is_another_plan(changed: dict[str, Any]) -> None:
    other = with_statement(findings=(replace(FINDING, **changed),))
    assert differences(with_statement(findings=(FINDING,)).digest, other.digest) == ["findings"]


def test_what_was_measured_is_no_part_of_the_digest() -> None:
    """So the approval of a rehearsed preview is valid in an update, which does not rehearse."""
    measured = replace(STATEMENT, measured=Effects((Lock("t", "SHARE"),)))
    seen = Rehearsed((measured,), ("table t",), (), (), "fails", "differs", ("+ x",))
    rehearsed = with_revision(statements=(measured,), rehearsed=seen)
    assert replace(rehearsed, rehearsed=True, not_rehearsed="why").digest == ACCOUNT.digest
