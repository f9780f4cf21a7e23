"""Whether the functions that are to run can run: what their text and the database show, before the first one does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pulumi_alembic.database import connect, login_search_path
from pulumi_alembic.execution.irreversible import refuse_irreversible
from pulumi_alembic.scripts.shape import Function, batched_updates, refuse_misplaced

__all__ = ["refuse_unfit"]


def refuse_unfit(functions: Sequence[Function], url: str | None, *, rehearsed: bool = False) -> None:
    """Raise HistoryError, naming file and line, for a statement in the wrong place or a batched update without a key.

    And TargetError for a downgrade that takes nothing back, as `refuse_irreversible` does.
    The way back of what is to be upgraded is looked at too: once it is applied, the script cannot be changed. `url` is
    None where there is no database yet. It is asked only where there is a batched update.
    """
    refuse_irreversible(functions, rehearsed=rehearsed)
    for function in functions:
        refuse_misplaced(function)
        refuse_misplaced(replace(function, name="downgrade"))
    if url is not None and any(batched_updates(function) for function in functions):
        from pulumi_alembic.batches.keys import refuse_keyless

        with connect(url) as connection:
            refuse_keyless(connection, functions, login_search_path(url))
