"""Whether the development server still has the roles of an earlier copy of the project, which no state knows."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psycopg

from taskdb.errors import TaskdbError

__all__ = ["refuse_foreign"]


def refuse_foreign(connection: psycopg.Connection[Any], database: str, state: Path) -> None:
    """Raise TaskdbError where the state is empty and the server has the owner of the stack's database all the same.

    A folder that was deleted without its server, and made anew at the same path, finds that server again. `state` is
    the stack's file in the project's own backend; where there is none, or another backend is used, nothing is known.
    """
    if os.environ.get("PULUMI_BACKEND_URL") or not _is_empty(state):
        return
    # The whole name: another stack's may begin as this one's does.
    owner = f"{database}_owner"
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [owner]).fetchone() is None:
        return
    raise TaskdbError(
        f"the development server has the role {owner} already, and this stack's state has no resource: the server is "
        "that of an earlier copy of this project at the same path. If nothing in its databases is needed any more: "
        "taskdb server remove; then: make up"
    )


def _is_empty(state: Path) -> bool:
    """Whether the file is there and holds no resource but the stack itself, nor one that was about to be made."""
    try:
        latest = json.loads(state.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
    except (OSError, ValueError, KeyError):
        return False
    others = [each for each in latest.get("resources") or () if each.get("type") != "pulumi:pulumi:Stack"]
    return not others and not latest.get("pending_operations")
