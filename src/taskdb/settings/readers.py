"""A reader for each setting. It rejects an invalid value with the command that sets a valid one.

Each takes the stack's configuration by key, and raises TaskdbError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
import yaml

from pulumi_alembic import Approval, Backup, Contract
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
CONTRACT_KEY = "taskdb:contract"

PRODUCTION = {"prod", "production"}
"""Names of stacks that are production stacks unless they are configured otherwise."""

LONGEST_ROLE = "_migrator"
LONGEST_NAME = 63
"""The longest identifier in bytes. PostgreSQL truncates a longer one without an error."""


def _wrong(key: str, value: str, kind: str, example: str) -> TaskdbError:
    return TaskdbError(f"{key} must be {kind}, not {value!r}. {_set(f'{key} {example}')}")


def _set(setting: str, verb: str = "config set") -> str:
    return f"Set it:\n  {command(verb, setting)}"


def _remove(key: str, verb: str = "config rm") -> str:
    return f"Remove it:\n  {command(verb, key)}"


def database_name(project: str, stack: str) -> str:
    """Return the name of the stack's database."""
    name = f"{project}_{stack}"
    longest = LONGEST_NAME - len(project) - len("_") - len(LONGEST_ROLE)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", stack) or len(stack) > longest:
        raise TaskdbError(
            f"the stack's name {stack!r} becomes part of database and role names, so it must consist of lower-case "
            f"letters, digits, '_' and '-', at most {longest} of them. Create a stack with another name:\n"
            f"  {engine()} stack init NAME"
        )
    return name


def revision_of(values: Mapping[str, str]) -> str:
    """Return `head` or a revision id."""
    revision = values.get("taskdb:revision")
    if revision is None:
        raise TaskdbError(f"taskdb:revision is not set. {_set('taskdb:revision head')}")
    if re.fullmatch(r"\d{11}", revision):
        raise TaskdbError(
            f"taskdb:revision is {revision!r}: YAML reads 20250126_002 without quotes as a number. "
            f"{_set(f'taskdb:revision {revision[:8]}_{revision[8:]}')}"
        )
    if not re.fullmatch(r"head|\d{8}_\d{3}", revision):
        raise _wrong("taskdb:revision", revision, "head or a revision id such as 20250126_003", "head")
    return revision


def allowed_losses(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return the revisions that are allowed to delete rows."""
    ids = values.get("taskdb:allow_data_loss", "").replace(",", " ").split()
    for id in ids:
        if not re.fullmatch(r"\d{8}_\d{3}", id):
            digits = " (YAML reads 20250126_003 without quotes as a number)" if id.isdigit() else ""
            raise TaskdbError(
                f"taskdb:allow_data_loss has {id!r}, which is no revision id{digits}. "
                f"{_set('taskdb:allow_data_loss 20250126_003')}"
            )
    return tuple(ids)


def adopt_of(values: Mapping[str, str]) -> str:
    """Return `true`, a revision id, or an empty text."""
    value = values.get("taskdb:adopt", "false")
    if not re.fullmatch(r"true|false|\d{8}_\d{3}", value):
        raise _wrong("taskdb:adopt", value, "true, false, or a revision id such as 20250126_003", "true")
    return "" if value == "false" else value


def flag(values: Mapping[str, str], key: str, *, default: bool = False) -> bool:
    """Return a setting that is `true` or `false`."""
    value = values.get(key, str(default).lower())
    if value not in ("true", "false"):
        raise _wrong(key, value, "true or false", "true")
    return value == "true"


def approval_of(values: Mapping[str, str]) -> Approval | None:
    """Return the approved digest. None if the stack requires no approval."""
    return Approval(values.get("taskdb:approved", "")) if flag(values, "taskdb:require_approval") else None


def backup_of(values: Mapping[str, str]) -> Backup | None:
    """Return when to back up and the directory. None without backups."""
    backup = Backup(values.get("taskdb:backup", "never"), values.get("taskdb:backup_folder", ""))
    try:
        return backup if backup.properties else None
    except PolicyError as error:
        example = "taskdb:backup_folder backups" if "backup_folder" in str(error) else "taskdb:backup destructive"
        raise TaskdbError(f"taskdb:{error}. {_set(example)}") from None


def contract_of(values: Mapping[str, str]) -> Contract | None:
    """Return when revisions of phase contract run. None if the kind of the stack decides."""
    if CONTRACT_KEY not in values:
        return None
    contract = Contract(values[CONTRACT_KEY])
    try:
        return contract if contract.properties else None
    except PolicyError as error:
        raise TaskdbError(f"taskdb:{error}. Set it as in: {command('config set', f'{CONTRACT_KEY} hold')}") from None


def unknown_revision_of(values: Mapping[str, str]) -> str | None:
    """Return the policy for a revision that the scripts lack. None if the stack's name decides."""
    value = values.get(UNKNOWN_KEY)
    if value not in (None, "rollback", "refuse"):
        raise _wrong(UNKNOWN_KEY, value, "rollback or refuse", "refuse")
    return value


def policy(values: Mapping[str, str]) -> Policy:
    """Return how long a migration waits."""
    try:
        return policy_of(values)
    except PolicyError as error:
        raise TaskdbError(f"{error}. {_set(example_of(str(error)))}") from None


def production_of(values: Mapping[str, str]) -> bool:
    """Return whether the stack is a production stack."""
    return flag(values, "taskdb:production", default=pulumi.get_stack() in PRODUCTION)


def lint_of(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the severities of rules."""
    example = command("config set --path", "taskdb:lint.truncate warning")
    try:
        configured = json.loads(values.get("taskdb:lint", "{}"))
        Lint.parse(configured)
    except PolicyError as error:
        wrong = _remove("taskdb:lint.NAME", "config rm --path")
        raise TaskdbError(f"taskdb:{error}. {wrong}\nOr set it:\n  {example}") from None
    except ValueError:
        raise TaskdbError(
            f"taskdb:lint must be an object of rules and their severities, not {values['taskdb:lint'][:80]!r}. "
            f"{_remove('taskdb:lint')}\nOr set it:\n  {example}"
        ) from None
    return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in configured.items()}


def drift_ignore_of(values: Mapping[str, str]) -> tuple[str, ...]:
    """Return patterns of objects that are allowed to differ, from a list or a text with commas."""
    text = values.get(DRIFT_KEY, "").strip()
    example = _set(f"'{DRIFT_KEY}[0]' 'table app.tmp_*'", "config set --path")
    try:
        given = json.loads(text) if text.startswith("[") else [part for part in text.split(",") if part.strip()]
        return patterns(given)
    except PolicyError as error:
        raise TaskdbError(f"taskdb:{error}. {example}") from None
    except ValueError:
        raise TaskdbError(f"{DRIFT_KEY} must be a list of patterns, not {text[:80]!r}. {example}") from None


def lower_of(values: Mapping[str, str], project: Path) -> str:
    """Return the upstream stack, which runs revisions first. Empty if there is none.

    Args:
        values: The stack's configuration.
        project: The directory of Pulumi.yaml.

    """
    lower = values.get(PROMOTE_FROM, "")
    if lower and not re.fullmatch(r"[\w.-]{1,100}", lower):
        kind = "the name of a stack of this project, of letters, digits, '_', '-' and '.'"
        raise _wrong(PROMOTE_FROM, lower, kind, "STACK")
    stack = pulumi.get_stack()
    if lower == stack:
        raise TaskdbError(
            f"{PROMOTE_FROM} must be the stack that runs revisions before this one, not {lower!r}, this stack itself. "
            f"{_remove(PROMOTE_FROM)}\nOr name that stack:\n  {command('config set', f'{PROMOTE_FROM} STACK')}"
        )
    way = [stack]
    while lower and lower not in way:
        way.append(lower)
        lower = _configured(project / f"Pulumi.{lower}.yaml")
    if lower:
        raise TaskdbError(
            f"{PROMOTE_FROM} forms a cycle, {' ← '.join([*way, lower])}: no stack would ever be the first to run a "
            f"revision. Remove it from one of them:\n  {command('config rm', PROMOTE_FROM)}"
        )
    return values.get(PROMOTE_FROM, "")


def _configured(file: Path) -> str:
    """Return the upstream stack in a stack's file. Empty without a readable file, which its own update reports."""
    try:
        read = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return ""
    config = read.get("config") if isinstance(read, dict) else None
    return str(config.get(PROMOTE_FROM) or "") if isinstance(config, dict) else ""


def app_login_of(values: Mapping[str, str]) -> str:
    """Return the login that is exported."""
    chosen = values.get(APP_LOGIN_KEY, LOGINS[0])
    if chosen not in LOGINS:
        raise _wrong(APP_LOGIN_KEY, chosen, " or ".join(LOGINS), LOGINS[0])
    return chosen


def configured_limit(values: Mapping[str, str]) -> int | None:
    """Return the limit of sessions in the configuration. None if there is none."""
    value = values.get(CONNECTION_LIMIT_KEY)
    if value is None or value == "none":
        return None if value is None else NO_LIMIT
    if not value.isdigit() or int(value) == 0:
        raise _wrong(CONNECTION_LIMIT_KEY, value, "a number from 1, or none", str(DEFAULT))
    return int(value)
