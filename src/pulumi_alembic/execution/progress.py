"""How far an index build is, as PostgreSQL counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["index_progress"]

_PROGRESS = """
SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total, lockers_done, lockers_total
FROM pg_stat_progress_create_index WHERE pid = %s
"""


def index_progress(connection: Connection, pid: int) -> str | None:
    """`building index: scanning table, 43 %`; None where the session `pid` builds none."""
    row = connection.execute(_PROGRESS, [pid]).fetchone()
    if row is None:
        return None
    phase, *counts = row
    for done, total in zip(counts[::2], counts[1::2], strict=True):
        if total:
            return f"{phase}, {min(100 * done // total, 100)} %"
    return str(phase)
