"""The stack's setting of when an update backs up its database first, and where to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_alembic.errors import PolicyError

if TYPE_CHECKING:
    from pulumi_alembic.review.plan_review import PlanReview

__all__ = ["BackupSetting", "When"]


class When(StrEnum):
    """When to back up. `destructive`: if a revision of the plan deletes something, or if that is unknown."""

    NEVER = "never"
    DESTRUCTIVE = "destructive"
    ALWAYS = "always"


@dataclass(frozen=True)
class BackupSetting:
    """When to back up, and the backup directory, which is required unless `when` is never."""

    when: When = When.NEVER
    folder: Path = Path()

    @classmethod
    def parse(cls, when: str, folder: str) -> BackupSetting:
        """Return the setting with these texts. Raises PolicyError if one of them is invalid."""
        if when not in set(When):
            raise PolicyError(f"backup must be {When.NEVER}, {When.DESTRUCTIVE} or {When.ALWAYS}, not {when!r}")
        if when != When.NEVER and not folder.strip():
            raise PolicyError(f"backup is {when}, and backup_folder is not set: it is the folder that backups go to")
        return cls(When(when), Path(folder).expanduser())

    def reason(self, review: PlanReview) -> str:
        """Return why a backup is taken before the revisions of `review`. Empty if none is."""
        if self.when is When.ALWAYS:
            return "always"
        if self.when is When.NEVER:
            return ""
        for revision in review.revisions:
            effects = [statement.effects for statement in revision.statements]
            if destroyed := [name for effect in effects for name in effect.destroys]:
                return f"{revision.direction} {revision.id} deletes {destroyed[0]}"
            if unknown := revision.runs_python or next((effect.unknown[0] for effect in effects if effect.unknown), ""):
                return f"what {revision.direction} {revision.id} deletes is unknown: {unknown}"
        return ""
