"""The one kind of error that this project raises for what can go wrong in normal use."""

__all__ = ["TaskdbError"]


class TaskdbError(Exception):
    """Its message says what happened, on what, and the command to run next; it never holds a password."""
