"""What earlier runs left half done outside a transaction, mended before anything runs, whatever scripts now say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial

from pulumi_alembic.database import Connection, open_session, refusals
from pulumi_alembic.ledger import ledger
from pulumi_alembic.policy import Policy
from pulumi_alembic.statements import recognise

__all__ = ["mend_leftovers"]


def mend_leftovers(session: Connection, url: str, policy: Policy, tell: Callable[[str], None]) -> None:
    """Mend what each statement left that was begun, and not done, for a revision that was not applied since.

    Nothing runs again here: that is for the revision. `session` is asked what there is, and a new one mends it. Raises
    DatabaseError where a lock is not to be had within the policy's `lock_deadline`.
    """
    left = [(each, recognise(each.statement)) for each in ledger.attempts(session) if not each.done]
    if not left:
        return
    from pulumi_alembic.execution.healing import mend

    # The statements are of scripts, which name things as the login's search_path finds them.
    with closing(open_session(url)) as connection, refusals(connection):
        connection.autocommit = True
        connection.execute(
            f"SET lock_timeout = {round(policy.lock_deadline * 1000)}; SET statement_timeout = 0".encode()
        )
        for attempt, statement in left:
            if statement:
                mend(connection, statement, partial(_tell, tell, attempt.revision))


def _tell(tell: Callable[[str], None], revision: str, text: str) -> None:
    tell(f"{revision}: {text}")
