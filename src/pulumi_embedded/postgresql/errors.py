"""The plugin's exceptions."""

from __future__ import annotations

__all__ = ["ConnectionLost", "ProviderError"]


class ProviderError(Exception):
    """A call failed. The message contains the whole reason. What the call had begun is rolled back.

    Only the creation, change or deletion of a database can be left half done, because PostgreSQL runs it outside of
    transactions.
    """


class ConnectionLost(ProviderError):
    """The connection ended during a statement. It is not known whether the server ran the statement."""
