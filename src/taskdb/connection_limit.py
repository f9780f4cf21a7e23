"""The limit of each application login's sessions, which reserves sessions for the admin and the migrator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT", "NO_LIMIT", "OUTPUT", "connection_limit"]

OUTPUT = "app_connection_limit"
NO_LIMIT = -1

DEFAULT = 25
"""The limit of a new stack. Two application logins and the reader leave 22 of PostgreSQL's 97 default sessions."""


def connection_limit(configured: int | None, outputs: Mapping[str, Any], *, adopting: bool) -> int:
    """Return the limit of each application login.

    A new stack gets DEFAULT. A stack without the output keeps NO_LIMIT: the first release set none, and a preview of
    its stacks must show no change. An adopted database gets none either, because its application can have more
    sessions.

    Args:
        configured: The limit in the stack's configuration. None if there is none.
        outputs: The stack's outputs. Empty for a new stack.
        adopting: Whether the database exists already and is imported.

    """
    if configured is not None:
        return configured
    if not outputs and not adopting:
        return DEFAULT
    return int(outputs.get(OUTPUT, NO_LIMIT))
