"""The report lists preserved and restored rows, and does not count them as a loss."""

from dataclasses import replace

from pulumi_alembic.review import report
from pulumi_alembic.review.plan_review import PlanReview, RevisionReview
from tests.unit.alembic.report.previews import migrations, previewed

REVISION = RevisionReview("20250102_002", "more", "versions/x.py", "c", "downgrade")
ACCOUNT = PlanReview("20250102_002", "20250101_001", "downgrade", "db:5432/x", revisions=(REVISION,))


def comment(**found: tuple[str, ...]) -> str:
    review = replace(ACCOUNT, revisions=(replace(REVISION, **found),))
    preview = previewed(migrations(review))
    return report.comment(preview, report.judge(preview), report.MARKER)


def test_what_is_kept_is_told_and_nothing_is_at_risk() -> None:
    text = comment(keeps=("9 rows of app.more: moved, no copy",))
    assert "#### Data\n\n- 📦 preserves `9 rows of app.more: moved, no copy`, in `20250102_002`" in text
    assert "have a backup" not in text
    assert "- 📦 restores `9 rows of app.more`" in comment(puts_back=("9 rows of app.more",))
    assert "#### Data" not in comment()


def test_it_is_no_part_of_the_digest() -> None:
    kept = replace(ACCOUNT, revisions=(replace(REVISION, keeps=("x",), puts_back=("y",)),))
    assert kept.digest == ACCOUNT.digest
    assert PlanReview.from_json(kept.to_json()) == kept
