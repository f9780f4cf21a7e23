"""The error that this project raises for failures of normal use."""

from pulumi_alembic.output.printable import printable

__all__ = ["TaskdbError"]


class TaskdbError(Exception):
    """An error of normal use. Its message names the object and the next command. It never contains a password."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message)))
