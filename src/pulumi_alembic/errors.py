"""Errors of normal use: one class for each promise that can be broken.

The text of each error is the whole message for a person: what happened, on what object, and which command helps.
"""

from __future__ import annotations

from pulumi_alembic.output.printable import printable

__all__ = [
    "AdoptionError",
    "AssertionFailed",
    "BackupError",
    "BaselineError",
    "DataLoss",
    "DatabaseError",
    "HistoryError",
    "KeptError",
    "LintError",
    "MigrationError",
    "Moved",
    "NotApproved",
    "NotRehearsed",
    "PolicyError",
    "RecipeError",
    "RehearsalFailed",
    "RevisionFailed",
    "StoredScriptError",
    "TargetError",
]


class MigrationError(Exception):
    """An error of normal use, printed without a traceback and without a password.

    Control characters in its text are escaped, because it quotes names and messages of the server.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class HistoryError(MigrationError):
    """The revision scripts on disk do not form one readable history. Nothing was changed."""


class TargetError(MigrationError):
    """No plan leads from the database's revision to the requested one. Nothing was changed."""


class StoredScriptError(MigrationError):
    """A script that the ledger stores is not allowed to run here. No part of it ran. Nothing was changed."""


class DatabaseError(MigrationError):
    """The database cannot be reached, or is not set up for migrations. Nothing was changed."""


class Moved(DatabaseError):
    """Another migration changed the database after the plan was read. This run changed nothing more."""


class BackupError(MigrationError):
    """A backup cannot be taken, found or restored. Nothing was changed."""


class AdoptionError(MigrationError):
    """An existing database matches no revision, or its revision cannot be determined. Nothing was changed."""


class BaselineError(MigrationError):
    """A baseline cannot be written, or an empty database cannot start from it. Nothing was changed."""


class AssertionFailed(MigrationError):
    """A condition that a revision requires is false. Nothing was changed, or the revision was rolled back."""


class PolicyError(MigrationError):
    """A timeout or another setting of the migration is not valid. Nothing was changed."""


class DataLoss(MigrationError):
    """A revision would delete rows or values without permission. The revision was rolled back."""


class KeptError(MigrationError):
    """Preserved rows cannot be removed as asked. Nothing was changed."""


class BackfillError(MigrationError):
    """A backfill cannot be run or changed as asked. Its finished rows stay finished."""


class LintError(MigrationError):
    """A lint finding of severity error has no exception. Nothing was changed."""


class NotApproved(MigrationError):
    """The plan is not the one that was approved. Nothing was changed."""


class RecipeError(MigrationError):
    """A recipe cannot be written as asked. No file was written."""


class RehearsalFailed(MigrationError):
    """The server rejected a revision during its rehearsal. Nothing was changed."""


class RevisionFailed(MigrationError):
    """One revision failed and was rolled back. The revisions before it stay applied.

    If the revision had committed something itself, the message contains it.

    Attributes:
        revision: The database's revision after the failure, read on a new connection.
        error: The exception that ended the revision, if it is known.

    """

    def __init__(self, message: str, revision: str, error: BaseException | None = None) -> None:
        super().__init__(message)
        self.revision = revision
        self.error = error


class NotRehearsed(BaseException):
    """The plan cannot be rehearsed. The text, which a preview prints, gives the reason. Nothing was changed.

    It is no Exception, because a script's own `except Exception` would otherwise catch it.
    """
