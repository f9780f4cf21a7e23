"""Find assertions of a plan that are false already, before the plan runs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import open_session
from pulumi_alembic.sql.assertions import is_decided, message_of, touched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulumi_alembic.database.connection import Session
    from pulumi_alembic.review.plan_review import PlanReview

__all__ = ["with_unmet"]

_PATIENCE = b"SET LOCAL lock_timeout = 1; SET LOCAL statement_timeout = 2000; SET TRANSACTION READ ONLY"
"""Timeouts in milliseconds. An assertion that takes longer is left to its revision."""


def with_unmet(review: PlanReview, url: str) -> PlanReview:
    """Return the review with the messages of false assertions that no earlier statement of the plan can make true.

    Raises:
        DatabaseError: The database cannot be read.

    """
    asked = [*_decided(review)]
    if not asked:
        return review
    with closing(open_session(url)) as session:
        unmet = [(id, message_of(sql)) for id, sql in asked if _is_false(session, sql)]
    revisions = (
        replace(revision, unmet=tuple(message for id, message in unmet if id == revision.id))
        for revision in review.revisions
    )
    return replace(review, revisions=tuple(revisions))


def _decided(review: PlanReview) -> Iterator[tuple[str, str]]:
    """Return the revision and the statement of each assertion whose result no earlier statement can change."""
    changed: set[str] = set()
    first = True
    for revision in review.revisions:
        if revision.runs_python:
            return
        for statement in revision.statements:
            effects = statement.effects
            if not message_of(statement.sql):
                if effects.unknown:
                    return
                changed |= touched(effects)
                first = False
            elif is_decided(effects, changed, first=first):
                yield revision.id, statement.sql


def _is_false(session: Session, sql: str) -> bool:
    try:
        with session.transaction(force_rollback=True):
            session.execute(_PATIENCE)
            return session.execute(sql.encode()).fetchmany(2) != [(True,)]
    except psycopg.Error:
        if session.broken:
            raise
        # The revision fails with the same error, and reports it.
        return False
