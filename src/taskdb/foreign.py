"""Roles of the stack that the server has, although the stack's state does not."""

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
    """Raise TaskdbError if the state is empty, but the server has the owner of the stack's database.

    Either the state was lost, or another copy of the project created the roles. `state` is the stack's file in the
    project's own backend; if it does not exist, or if another backend is used, nothing is checked.
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
    """Whether the file exists and has no resource except the stack itself, and no pending creation."""
    try:
        latest = json.loads(state.read_text(encoding="utf-8"))["checkpoint"].get("latest") or {}
    except (OSError, ValueError, KeyError):
        return False
    others = [resource for resource in latest.get("resources") or () if resource.get("type") != "pulumi:pulumi:Stack"]
    return not others and not latest.get("pending_operations")
