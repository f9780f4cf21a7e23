"""The one kind of error that this project raises for what can go wrong in normal use."""

from pulumi_alembic.output.printable import printable

__all__ = ["TaskdbError"]


class TaskdbError(Exception):
    """Its message says what happened, on what, and the command to run next; it never holds a password."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))
