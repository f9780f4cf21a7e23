"""The script for psql that brings back what is expected: all of it in one transaction, or nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pulumi_alembic.drift.difference import Difference
from pulumi_alembic.drift.mending import script
from pulumi_alembic.drift.telling import render

__all__ = ["psql_script"]

_HEAD = """\
-- Brings back what the last update of the stack left. For an admin who may become the owner of the objects:
--   psql --no-psqlrc --set ON_ERROR_STOP=1 --file FILE
BEGIN;
SET LOCAL search_path = '';
SET LOCAL check_function_bodies = off;"""


def psql_script(whole: Difference) -> str:
    """The statements in their order, each as the role that may run it."""
    return "\n".join([_HEAD, *_lines(whole), "COMMIT;"]) + "\n"


def _lines(whole: Difference) -> Iterator[str]:
    role = ""
    for each in script(whole):
        if each.sql and each.role != role:
            role = each.role
            yield f"SET LOCAL ROLE {role};" if role else "RESET ROLE;"
        yield from render([each])
