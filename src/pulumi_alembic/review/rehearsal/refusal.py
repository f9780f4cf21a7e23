"""Why something is not rehearsed."""

from __future__ import annotations

__all__ = ["NotRehearsed"]


class NotRehearsed(BaseException):
    """The plan cannot be rehearsed; the text, which stands in a preview, says why. Nothing is left behind.

    No Exception, or a script's own `except Exception` would take it for an error of its statement.
    """
