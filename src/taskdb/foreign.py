"""Detect roles of the stack that exist on the server but not in the stack's state."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psycopg

from taskdb.commands import command
from taskdb.errors import TaskdbError
from taskdb.settings.admin import Admin

__all__ = ["refuse_foreign"]

ADOPT = "taskdb:adopt true"


def refuse_foreign(connection: psycopg.Connection[Any], admin: Admin, database: str, state: Path) -> None:
    """Reject an empty state if the server has the owner of the stack's database.

    Either the state was lost, or another copy of the project created the roles.

    Args:
        connection: A session on the server.
        admin: The server and its admin.
        database: The name of the stack's database.
        state: The stack's file in the project's own backend. If it does not exist, or if another backend is used,
            nothing is checked.

    Raises:
        TaskdbError: The server has the owner. Nothing was changed.

    """
    if os.environ.get("PULUMI_BACKEND_URL") or not _is_empty(state):
        return
    # The whole name: another stack's can begin with this one's.
    owner = f"{database}_owner"
    if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [owner]).fetchone() is None:
        return
    server = "the development server" if admin.local else f"the server at {admin.host}:{admin.port}"
    advice = ["Take over the database and its roles as they are, with all rows:", command("config set", ADOPT)]
    if admin.local:
        advice += ["Or, if nothing in any database of that server is needed, delete it:", "taskdb server remove"]
    raise TaskdbError(
        f"{server} has the role {owner} already, and this stack's state has no resource: the state was lost, or "
        "another copy of the project made the role.\n  " + "\n  ".join(advice)
    )


def _is_empty(state: Path) -> bool:
    """Return whether the file exists and has neither a resource except the stack itself nor a pending creation."""
    try:
        latest = json.loads(state.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
    except (OSError, ValueError, KeyError):
        return False
    others = [resource for resource in latest.get("resources") or () if resource.get("type") != "pulumi:pulumi:Stack"]
    return not others and not latest.get("pending_operations")
