"""Reads one setting each, and refuses what is invalid with the command that sets it.

All take the stack's configuration, by key, and raise TaskdbError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

from pulumi_alembic import Approval, Backup
from pulumi_alembic.drift.difference.ignored import patterns
from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.lint import Settings as Lint
from taskdb.commands import command, engine
from taskdb.connection_limit import DEFAULT, NO_LIMIT
from taskdb.errors import TaskdbError
from taskdb.policy import example_of, policy_of
from taskdb.rotation import LOGINS

APP_LOGIN_KEY = "taskdb:app_login"
BACKUP_KEYS = ("taskdb:backup", "taskdb:backup_folder")
CONNECTION_LIMIT_KEY = "taskdb:app_connection_limit"
DRIFT_KEY = "taskdb:drift_ignore"
LINT_KEYS = ("taskdb:lint", "taskdb:production")
PROMOTE_FROM = "taskdb:promote_from"
UNKNOWN_KEY = "taskdb:on_unknown_revision"

PRODUCTION = {"prod", "production"}
"""Stacks of these names are production ones unless they say otherwise."""

LONGEST_ROLE = "_migrator"
LONGEST_NAME = 63
"""Bytes of an identifier that PostgreSQL keeps; it cuts the rest off without an error."""


def _wrong(key: str, value: str, kind: str, example: str) -> TaskdbError:
    return TaskdbError(f"{key} is {value!r}: it is {kind}. Set it: {command('config set', f'{key} {example}')}")


def database_name(project: str, stack: str) -> str:
    """The name of the stack's database."""
    name = f"{project}_{stack}"
    longest = LONGEST_NAME - len(project) - len("_") - len(LONGEST_ROLE)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", stack) or len(stack) > longest:
        raise TaskdbError(
            f"the stack's name {stack!r} becomes part of database and role names: lower-case letters, digits, '_' and "
            f"'-', at most {longest} of them. Make a stack of another name: {engine()} stack init NAME"
        )
    return name


def revision_of(values: Mapping[str, str]) -> str:
    """`head` or an id."""
    revision = values.get("taskdb:revision")
    if revision is None:
        raise TaskdbError(f"taskdb:revision is not set. Set it: {command('config set', 'taskdb:revision head')}")
    if re.fullmatch(r"\d{11}", revision):
        raise TaskdbError(
            f"taskdb:revision is {revision!r}: YAML reads 20250126_002 as a number. Put it in quotes, or set it by "
            f"{command('config set', f'taskdb:revision {revision[:8]}_{revision[8:]}')}"
        )
    if not re.fullmatch(r"head|\d{8}_\d{3}", revision):
        raise TaskdbError(
            f"taskdb:revision is {revision!r}; it is 'head' or a revision id such as 20250126_003. "
            f"Set it: {command('config set', 'taskdb:revision head')}"
        )
    return revision


def allowed_losses(values: Mapping[str, str]) -> tuple[str, ...]:
    """The revisions that are allowed to delete rows."""
    ids = values.get("taskdb:allow_data_loss", "").replace(",", " ").split()
    for id in ids:
        if not re.fullmatch(r"\d{8}_\d{3}", id):
            digits = " (YAML reads 20250126_003 without quotes as a number)" if id.isdigit() else ""
            raise TaskdbError(
                f"taskdb:allow_data_loss has {id!r}, which is no revision id{digits}. "
                f"Set it: {command('config set', 'taskdb:allow_data_loss 20250126_003')}"
            )
    return tuple(ids)


def adopt_of(values: Mapping[str, str]) -> str:
    """`true`, a revision, or empty."""
    value = values.get("taskdb:adopt", "false")
    if not re.fullmatch(r"true|false|\d{8}_\d{3}", value):
        raise _wrong("taskdb:adopt", value, "true, false, or a revision id such as 20250126_003", "true")
    return "" if value == "false" else value


def flag(values: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    """`true` or `false`."""
    value = values.get(key, str(default).lower())
    if value not in ("true", "false"):
        raise _wrong(key, value, "true or false", "true")
    return value == "true"


def approval_of(values: Mapping[str, str]) -> Approval | None:
    """What was approved, if anything has to be."""
    return Approval(values.get("taskdb:approved", "")) if flag(values, "taskdb:require_approval") else None


def backup_of(values: Mapping[str, str]) -> Backup | None:
    """When to back up, and where to."""
    backup = Backup(values.get("taskdb:backup", "never"), values.get("taskdb:backup_folder", ""))
    try:
        return backup if backup.properties else None
    except PolicyError as error:
        example = "taskdb:backup_folder backups" if "backup_folder" in str(error) else "taskdb:backup destructive"
        raise TaskdbError(f"taskdb:{error}. Set it as in: {command('config set', example)}") from None


def unknown_revision_of(values: Mapping[str, str]) -> str | None:
    """What a checkout does with a revision that its scripts lack; None if the stack's name decides."""
    value = values.get(UNKNOWN_KEY)
    if value not in (None, "rollback", "refuse"):
        raise _wrong(UNKNOWN_KEY, value, "rollback or refuse", "refuse")
    return value


def policy(values: Mapping[str, str]) -> Policy:
    """How long to wait, and for what."""
    try:
        return policy_of(values)
    except PolicyError as error:
        example = command("config set", example_of(str(error)))
        raise TaskdbError(f"{error}. Set it as in: {example}") from None


def production_of(values: Mapping[str, str]) -> bool:
    """Whether the stack is a production one."""
    return flag(values, "taskdb:production", default=pulumi.get_stack() in PRODUCTION)


def lint_of(values: Mapping[str, str]) -> dict[str, Any]:
    """The severities of rules."""
    example = command("config set --path", "taskdb:lint.truncate warning")
    try:
        configured = json.loads(values.get("taskdb:lint", "{}"))
        Lint.parse(configured)
    except PolicyError as error:
        wrong = command("config rm --path", "taskdb:lint.NAME")
        raise TaskdbError(f"taskdb:{error}. Set it as in: {example}; take one out: {wrong}") from None
    except ValueError:
        raise TaskdbError(
            f"taskdb:lint is {values['taskdb:lint'][:80]!r}: it is an object of rules and their severities. Take it "
            f"out: {command('config rm', 'taskdb:lint')}; and set it as in: {example}"
        ) from None
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in configured.items()}


def drift_ignore_of(values: Mapping[str, str]) -> tuple[str, ...]:
    """Patterns of what may differ: a list in the stack's file, or a text in which commas divide them."""
    text = values.get(DRIFT_KEY, "").strip()
    example = command("config set --path", f"'{DRIFT_KEY}[0]' 'table app.tmp_*'")
    try:
        given = json.loads(text) if text.startswith("[") else [each for each in text.split(",") if each.strip()]
        return patterns(given)
    except PolicyError as error:
        raise TaskdbError(f"taskdb:{error}. Set it as in: {example}") from None
    except ValueError:
        raise TaskdbError(f"{DRIFT_KEY} is {text[:80]!r}: it is a list of patterns. Set it as in: {example}") from None


def lower_of(values: Mapping[str, str], project: Path) -> str:
    """The name of the stack that runs revisions before this one, empty where none has to.

    `project` is the folder of Pulumi.yaml.
    """
    lower = values.get(PROMOTE_FROM, "")
    if lower and not re.fullmatch(r"[\w.-]{1,100}", lower):
        raise TaskdbError(
            f"{PROMOTE_FROM} is {lower!r}: it is the name of a stack of this project, letters, digits, "
            f"'_', '-' and '.'. Set it: {command('config set', f'{PROMOTE_FROM} STACK')}"
        )
    stack = pulumi.get_stack()
    if lower == stack:
        raise TaskdbError(
            f"{PROMOTE_FROM} is {lower!r}, this stack itself: it is the one that runs revisions before this. "
            f"Take it out: {command('config rm', PROMOTE_FROM)}; "
            f"or name that stack: {command('config set', f'{PROMOTE_FROM} STACK')}"
        )
    way = [stack]
    while lower and lower not in way:
        way.append(lower)
        lower = _configured(project / f"Pulumi.{lower}.yaml")
    if lower:
        raise TaskdbError(
            f"{PROMOTE_FROM} forms a cycle, {' ← '.join([*way, lower])}: no stack would ever be the first to run a "
            f"revision. Take it out of one of them: {command('config rm', PROMOTE_FROM)}"
        )
    return values.get(PROMOTE_FROM, "")


def _configured(file: Path) -> str:
    """What a stack's own file says; nothing where there is none, which its own update would complain of."""
    try:
        read = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    config = read.get("config") if isinstance(read, dict) else None
    return str(config.get(PROMOTE_FROM) or "") if isinstance(config, dict) else ""


def app_login_of(values: Mapping[str, str]) -> str:
    """The login that is exported."""
    chosen = values.get(APP_LOGIN_KEY, LOGINS[0])
    if chosen not in LOGINS:
        raise _wrong(APP_LOGIN_KEY, chosen, " or ".join(LOGINS), LOGINS[0])
    return chosen


def configured_limit(values: Mapping[str, str]) -> int | None:
    """The limit that the stack's configuration sets, None without one."""
    value = values.get(CONNECTION_LIMIT_KEY)
    if value is None or value == "none":
        return None if value is None else NO_LIMIT
    if not value.isdigit() or int(value) == 0:
        fix = command("config set", f"{CONNECTION_LIMIT_KEY} {DEFAULT}")
        raise TaskdbError(f"{CONNECTION_LIMIT_KEY} must be a number from 1, or none, not {value!r}. Set it:\n  {fix}")
    return int(value)
