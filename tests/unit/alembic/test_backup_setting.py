"""A backup is taken before a destructive plan, and before a plan whose effects are unknown."""

from pathlib import Path

import pytest

from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.errors import PolicyError
from pulumi_alembic.review.plan_review import PlanReview, RevisionReview, StatementReview
from pulumi_alembic.sql.locks import Effects


def review(effects: Effects, runs_python: str = "") -> PlanReview:
    harmless = StatementReview("SELECT 1")
    statements = (harmless, StatementReview("…", effects=effects), harmless)
    revision = RevisionReview("2", "message", "file", "v1:", "downgrade", runs_python, statements)
    return PlanReview("2", "1", "downgrade", revisions=(RevisionReview("3", "", "", "", "downgrade"), revision))


@pytest.mark.parametrize(
    ("effects", "runs_python", "reason"),
    [
        (Effects(rewrites=("t",), scans=("t",)), "", ""),
        (Effects(destroys=("table t",)), "", "downgrade 2 deletes table t"),
        (Effects(unknown=("DO block",)), "", "what downgrade 2 deletes is unknown: DO block"),
        (Effects(), "it reads the clock", "what downgrade 2 deletes is unknown: it reads the clock"),
    ],
)
def test_destructive_means_what_destroys_or_may(effects: Effects, runs_python: str, reason: str) -> None:
    described = review(effects, runs_python)
    assert BackupSetting(When.DESTRUCTIVE, Path("b")).reason(described) == reason
    assert BackupSetting(When.ALWAYS, Path("b")).reason(described) == "always"
    assert BackupSetting().reason(described) == ""


@pytest.mark.parametrize(
    ("when", "folder", "message"),
    [
        ("sometimes", "b", "backup must be never, destructive or always, not 'sometimes'"),
        ("always", " ", "backup is always, and backup_folder is not set"),
    ],
)
def test_what_makes_no_sense_is_refused(when: str, folder: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        BackupSetting.parse(when, folder)


def test_without_backups_no_folder_is_needed() -> None:
    assert BackupSetting.parse("never", "") == BackupSetting()
