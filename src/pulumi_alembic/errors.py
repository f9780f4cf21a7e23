"""What can go wrong, one class per contract that was broken.

The text of each error is the whole message for the person at the terminal: what happened, on what, what to do next.
"""

from __future__ import annotations

from pulumi_alembic.output.printable import printable

__all__ = [
    "AdoptionError",
    "AssertionFailed",
    "BackupError",
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
    """Something that can go wrong in normal use; printed without a traceback and without a password.

    Its text is printable: it quotes names and messages of the server, which must not command a terminal or a CI log.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))


class HistoryError(MigrationError):
    """The revision scripts on disk are not one readable history. Nothing was changed."""


class TargetError(MigrationError):
    """There is no way from where the database is to the revision asked for. Nothing was changed."""


class StoredScriptError(MigrationError):
    """What the ledger keeps of a revision may not run here, and none of it did. Nothing was changed."""


class DatabaseError(MigrationError):
    """The database cannot be reached, or is not set up for migrations. Nothing was changed."""


class Moved(DatabaseError):
    """Another migration changed the database between the reading and the run. This run changed nothing more."""


class BackupError(MigrationError):
    """A backup cannot be made, found or restored. Nothing was changed."""


class AdoptionError(MigrationError):
    """A database that exists is none that a revision builds, or that can be told. Nothing was changed."""


class AssertionFailed(MigrationError):
    """What a revision relies on is not true. Nothing was changed, or what the revision had done was rolled back."""


class PolicyError(MigrationError):
    """A timeout or another setting of the migration makes no sense. Nothing was changed."""


class DataLoss(MigrationError):
    """A revision would delete rows or values, and may not. What it had done was rolled back."""


class KeptError(MigrationError):
    """What a downgrade preserved cannot be removed as asked. Nothing was changed."""


class BackfillError(MigrationError):
    """A backfill cannot be worked at, or changed, as asked. The rows that it did stay done."""


class LintError(MigrationError):
    """A finding of lint is an error, and nobody allowed it. Nothing was changed."""


class NotApproved(MigrationError):
    """What would run is not what was approved. Nothing was changed."""


class RecipeError(MigrationError):
    """A recipe cannot be written as asked. No file was written."""


class RehearsalFailed(MigrationError):
    """The server refused a revision in its rehearsal. Nothing was changed."""


class RevisionFailed(MigrationError):
    """One revision failed and was rolled back; those before it stay applied.

    Where it had committed something of its own, the message says so. `revision` is the database's own revision
    afterwards, read on a new connection, and `error` what the revision ended with.
    """

    def __init__(self, message: str, revision: str, error: BaseException | None = None) -> None:
        super().__init__(message)
        self.revision = revision
        self.error = error


class NotRehearsed(BaseException):
    """The plan cannot be rehearsed; the text, which stands in a preview, says why. Nothing is left behind.

    No Exception, or a script's own `except Exception` would take it for an error of its statement.
    """
