"""The plugin's exceptions: what a call could not do."""

from __future__ import annotations

__all__ = ["ConnectionLost", "ProviderError"]


class ProviderError(Exception):
    """A call failed for a reason that its message says in full; what the call had begun is rolled back.

    Only a database's creation, change and deletion, which PostgreSQL does outside transactions, may be left half done.
    """


class ConnectionLost(ProviderError):
    """The connection ended under a statement: the server may have carried out the statement, or not."""
