"""The error that this project raises for failures of normal use."""

from pulumi_alembic.output.printable import printable

__all__ = ["TaskdbError"]


class TaskdbError(Exception):
    """Its message says what happened, on what, and the command to run next; it never holds a password."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))
