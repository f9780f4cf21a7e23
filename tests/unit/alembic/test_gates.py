"""The gates of a plan: what each gate stops, in which order, and that every command that an error names helps."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pulumi_alembic.errors import DataLoss, LintError, NotApproved, PolicyError, RehearsalFailed
from pulumi_alembic.review.gates import SKIP_REHEARSAL, Gates, notes
from pulumi_alembic.review.plan_review import (
    DIGEST_FORMULA,
    Finding,
    PlanReview,
    Rehearsed,
    RevisionReview,
    Severity,
    StatementReview,
)

CONFIGURE = "pulumi config set --path taskdb:lint.{rule} warning"


def found(rule: str, *, direction: str = "upgrade", sent: bool = False, suggestion: str = "x") -> PlanReview:
    finding = Finding(rule, Severity.ERROR, "m", suggestion)
    statements = (StatementReview("SELECT 1", findings=(finding,)),) if sent else ()
    own = () if sent else (finding,)
    one = RevisionReview("20250101_001", "m", "versions/1.py", "c", direction, "", statements, own)
    return PlanReview("base", "20250101_001", direction, revisions=(one,))


def check(review: PlanReview) -> None:
    Gates("pulumi up", CONFIGURE).check([review], review.digest)


@pytest.mark.parametrize("sent", [True, False])
def test_nothing_that_is_found_on_the_way_back_stops_it(sent: bool) -> None:
    check(found("security-definer-search-path", direction="downgrade", sent=sent))
    with pytest.raises(LintError):
        check(found("security-definer-search-path", sent=sent))


@pytest.mark.parametrize(
    ("review", "ways"),
    [
        (
            found("truncate", sent=True),
            [
                "fix the script as suggested, then: pulumi-alembic manifest",
                "allow it, with a comment above the statement: # lint: allow truncate: REASON; "
                "then: pulumi-alembic manifest",
            ],
        ),
        (
            found("irreversible-downgrade", suggestion=""),
            [
                "fix the script, then: pulumi-alembic manifest",
                "allow it, with a comment anywhere in the script: # lint: allow irreversible-downgrade: REASON; "
                "then: pulumi-alembic manifest",
            ],
        ),
        (
            found("production-without-backup"),
            [
                "do what is suggested above",
                "allow it, with a comment anywhere in the script: # lint: allow production-without-backup: REASON; "
                "then: pulumi-alembic manifest",
            ],
        ),
        (
            found("unproven-revision", suggestion=""),
            ["if it cannot wait, for this update only: PULUMI_ALEMBIC_UNPROVEN='why it cannot wait' pulumi up"],
        ),
        (found("bad-excuse", suggestion=""), ["fix the script, then: pulumi-alembic manifest"]),
    ],
    ids=["of a statement", "of a script", "of the plan", "of the stack below", "of an excuse"],
)
def test_each_way_on_is_one(review: PlanReview, ways: list[str]) -> None:
    with pytest.raises(LintError) as error:
        check(review)
    _, _, told = str(error.value).partition("Do one of these, then run `pulumi up`:\n")
    [rule] = {each.rule for one in review.revisions for part in (one, *one.statements) for each in part.findings}
    last = f"change the rule's severity for this stack: {CONFIGURE.format(rule=rule)}"
    assert [line.strip() for line in told.splitlines()] == [*ways, last]


DIGEST, OTHER = f"{DIGEST_FORMULA}{'0' * 32}", f"{DIGEST_FORMULA}{'1' * 32}"


def plan(*, fails: str = "", doubt: str = "", losses: tuple[str, ...] = (), lint: bool = False) -> PlanReview:
    rehearsed = Rehearsed(fails=fails, doubt=doubt)
    findings = (Finding("truncate", Severity.ERROR, "m"),) if lint else ()
    one = RevisionReview("20250101_001", "m", "versions/1.py", "c", "upgrade", "", (), findings, losses, rehearsed)
    return PlanReview("base", "20250101_001", "upgrade", revisions=(one,))


@pytest.mark.parametrize(
    ("review", "approved", "error"),
    [
        (plan(fails="42P01", lint=True, losses=("1 row of t",)), "", RehearsalFailed),
        (plan(lint=True, losses=("1 row of t",)), "", LintError),
        (plan(losses=("1 row of t",)), "", NotApproved),
        (plan(losses=("1 row of t",)), DIGEST, DataLoss),
        (plan(losses=("1 row of t",)), None, DataLoss),
    ],
)
def test_the_first_gate_that_is_closed_stops_the_plan(
    review: PlanReview, approved: str | None, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Gates("pulumi up", CONFIGURE, approved=approved).check([plan(), review], DIGEST)


@pytest.mark.parametrize(
    ("review", "gates"),
    [
        (plan(), Gates("pulumi up", CONFIGURE)),
        (plan(fails="23502", doubt="t has no rows here"), Gates("pulumi up", CONFIGURE)),
        (plan(), Gates("pulumi up", CONFIGURE, approved=DIGEST)),
        (plan(losses=("1 row of t",)), Gates("pulumi up", CONFIGURE, frozenset({"20250101_001"}))),
    ],
)
def test_open_gates_stop_nothing(review: PlanReview, gates: Gates) -> None:
    gates.check([review], DIGEST)


def test_a_revision_that_is_allowed_to_lose_rows_opens_the_gate_for_no_other() -> None:
    with pytest.raises(DataLoss, match="20250101_001"):
        Gates("pulumi up", CONFIGURE, frozenset({"20250102_002"})).check([plan(losses=("1 row of t",))], DIGEST)


def test_a_plan_may_be_approved_by_its_other_digest_and_by_no_third_one() -> None:
    Gates("pulumi up", CONFIGURE, approved=OTHER).check([plan()], DIGEST, lambda: OTHER)
    for approved, other in ((OTHER, DIGEST), (OTHER, ""), ("", "")):
        with pytest.raises(NotApproved):
            Gates("pulumi up", CONFIGURE, approved=approved).check([plan()], DIGEST, lambda: other)  # noqa: B023


def test_a_rehearsal_that_failed_is_overridden_by_a_reason_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gates, failed = Gates("pulumi up", CONFIGURE), plan(fails="42P01")
    for reason in ("yes", "1234", "x"):
        monkeypatch.setenv(SKIP_REHEARSAL, reason)
        with pytest.raises(PolicyError):
            gates.check([failed], DIGEST)
    monkeypatch.setenv(SKIP_REHEARSAL, "the script needs rows")
    gates.check([failed], DIGEST)
    assert notes(failed) == {
        "20250101_001": {"rehearsal_skipped": {"reason": "the script needs rows", "failed": "42P01"}}
    }


def test_the_reason_for_held_contracts_is_recorded_with_contracts_only() -> None:
    expand, contract = (replace(plan().revisions[0], id=phase, phase=phase) for phase in ("", "contract"))
    review = replace(plan(), revisions=(expand, contract))
    assert notes(review) == {}
    assert notes(review, "the old code is gone") == {"contract": {"contract": {"reason": "the old code is gone"}}}
