"""A stack's configuration, typed and validated: the only place that reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as stack_config

from pulumi_alembic import Approval, Backup, Commands
from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy
from taskdb.admin import CONFIGURATION, REQUIRE_AUTH_KEY, UNVERIFIED_KEY, Admin, admin_of
from taskdb.commands import command as _command
from taskdb.commands import engine as _engine
from taskdb.connection_limit import CONNECTION_LIMIT_KEY, configured_limit
from taskdb.drift import drift_ignore_of
from taskdb.errors import TaskdbError
from taskdb.lint import LINT_KEYS, configure_command, lint_of
from taskdb.policy import POLICY_KEYS, example_of, policy_of
from taskdb.promotion import PROMOTE_FROM, lower_of
from taskdb.rotation import APP_LOGIN_KEY, app_login_of

__all__ = ["Admin", "Settings"]

TEMPORARY_TABLES_KEY = "taskdb:temporary_tables"
BACKUP_KEYS = ("taskdb:backup", "taskdb:backup_folder")
KEYS = {
    "taskdb": {
        "taskdb:revision",
        "taskdb:require_approval",
        "taskdb:approved",
        "taskdb:allow_data_loss",
        "taskdb:rehearse",
        "taskdb:drift_ignore",
        "taskdb:adopt",
        *BACKUP_KEYS,
        *LINT_KEYS,
        PROMOTE_FROM,
        "taskdb:on_unknown_revision",
        "taskdb:protect",
        "taskdb:reporter",
        APP_LOGIN_KEY,
        CONNECTION_LIMIT_KEY,
        TEMPORARY_TABLES_KEY,
        REQUIRE_AUTH_KEY,
        UNVERIFIED_KEY,
        *POLICY_KEYS,
    },
    "postgresql": set(CONFIGURATION.values()),
}
LONGEST_ROLE = "_migrator"
LONGEST_NAME = 63
"""Bytes of an identifier that PostgreSQL keeps; it cuts the rest off without an error."""


@dataclass(frozen=True)
class Settings:
    """What the program needs to know. `database` is also the prefix of its roles, so that stacks can share a server.

    `policy` is how long a migration waits, and for what. With `approval` revisions run only where the digest of their
    plan was approved. Only the revisions of `allow_data_loss` may take away rows. `lint` is how findings are judged, on
    a stack that is `production`, or above the stack `lower`, which runs revisions first. With `rehearse`, which is the
    default on the development server, previews run them in a scratch database. `backup` says before which updates the
    database is backed up, and where to. `on_unknown_revision` is None where the stack's name decides. With `protect`,
    the default of a production stack, database and roles cannot be deleted. `app_login`, a or b, is the login whose URL
    is exported, and `app_connections` the limit of each such login's sessions, if the configuration sets one.
    `drift_ignore` are patterns of what may differ from what an update left. `adopt` is `true`, a revision, or empty.
    With `reporter` there is a login that reports can be made with, and no row be read. `temporary_tables` says whether
    revisions can create temporary tables, None if the configuration does not say.
    """

    database: str
    revision: str
    policy: Policy
    admin: Admin
    approval: Approval | None = None
    allow_data_loss: tuple[str, ...] = ()
    lint: Mapping[str, Any] = field(default_factory=dict)
    production: bool = False
    lower: str = ""
    backup: Backup | None = None
    on_unknown_revision: str | None = None
    rehearse: bool = False
    protect: bool = False
    app_login: str = "a"
    app_connections: int | None = None
    temporary_tables: bool | None = None
    drift_ignore: tuple[str, ...] = ()
    adopt: str = ""
    reporter: bool = False

    @classmethod
    def load(cls, project: Path) -> Settings:
        """The settings of the stack that is being run; `project` is the folder of Pulumi.yaml.

        The server is the one of the stack's `postgresql:` configuration, else that of PGHOST and its companions, else
        the development server. Raises TaskdbError, with the command that mends it, for what is unknown or invalid.
        """
        values = {**stack_config.CONFIG.get(), **stack_config.get_config_env()}
        _refuse_unknown(values)
        name = _database_name(pulumi.get_project(), pulumi.get_stack())
        approval, allowed = _approval(values), _may_lose(values)
        lint, production = lint_of(values, _command)
        lower, backup, unknown = lower_of(values, _command, project), _backup(values), _unknown(values)
        revision, policy = _revision(values), _policy(values)
        admin = admin_of(values, project, _command, production=production)
        return cls(
            name,
            revision,
            policy,
            admin,
            approval=approval,
            allow_data_loss=allowed,
            lint=lint,
            production=production,
            lower=lower,
            backup=backup,
            on_unknown_revision=unknown,
            rehearse=_flag(values, "taskdb:rehearse", str(admin.local).lower()),
            protect=_flag(values, "taskdb:protect", str(production).lower()),
            app_login=app_login_of(values, _command),
            app_connections=configured_limit(values, _command),
            temporary_tables=_flag(values, TEMPORARY_TABLES_KEY) if TEMPORARY_TABLES_KEY in values else None,
            drift_ignore=drift_ignore_of(values, _command),
            adopt=_adopt(values),
            reporter=_flag(values, "taskdb:reporter"),
        )

    @property
    def commands(self) -> Commands:
        """What is typed to configure the stack otherwise; of backups two commands, one to a line."""
        folder, when = ("taskdb:backup_folder backups", "taskdb:backup destructive")
        backup = "\n".join(_command("config set", each) for each in (folder, when))
        return Commands(lint=configure_command(_engine()), backup=backup)


def _refuse_unknown(values: Mapping[str, str]) -> None:
    for key in sorted(values):
        known = KEYS.get(key.partition(":")[0], {key})
        if key not in known:
            raise TaskdbError(
                f"unknown configuration {key}. Known: {', '.join(sorted(known))}. "
                f"Remove it: {_command('config rm', key)}"
            )


def _revision(values: Mapping[str, str]) -> str:
    revision = values.get("taskdb:revision")
    if revision is None:
        raise TaskdbError(f"taskdb:revision is not set. Set it: {_command('config set', 'taskdb:revision head')}")
    if re.fullmatch(r"\d{11}", revision):
        raise TaskdbError(
            f"taskdb:revision is {revision!r}: YAML reads 20250126_002 as a number. Put it in quotes, or set it by "
            f"{_command('config set', f'taskdb:revision {revision[:8]}_{revision[8:]}')}"
        )
    if not re.fullmatch(r"head|\d{8}_\d{3}", revision):
        raise TaskdbError(
            f"taskdb:revision is {revision!r}; it is 'head' or a revision id such as 20250126_003. "
            f"Set it: {_command('config set', 'taskdb:revision head')}"
        )
    return revision


def _may_lose(values: Mapping[str, str]) -> tuple[str, ...]:
    ids = values.get("taskdb:allow_data_loss", "").replace(",", " ").split()
    for id in ids:
        if not re.fullmatch(r"\d{8}_\d{3}", id):
            digits = " (YAML reads 20250126_003 without quotes as a number)" if id.isdigit() else ""
            raise TaskdbError(
                f"taskdb:allow_data_loss has {id!r}, which is no revision id{digits}. "
                f"Set it: {_command('config set', 'taskdb:allow_data_loss 20250126_003')}"
            )
    return tuple(ids)


def _adopt(values: Mapping[str, str]) -> str:
    value = values.get("taskdb:adopt", "false")
    if not re.fullmatch(r"true|false|\d{8}_\d{3}", value):
        raise TaskdbError(
            f"taskdb:adopt is {value!r}: it is true, false, or a revision id such as 20250126_003. "
            f"Set it: {_command('config set', 'taskdb:adopt true')}"
        )
    return "" if value == "false" else value


def _flag(values: Mapping[str, str], key: str, default: str = "false") -> bool:
    value = values.get(key, default)
    if value not in ("true", "false"):
        raise TaskdbError(f"{key} is {value!r}: it is true or false. Set it: {_command('config set', f'{key} true')}")
    return value == "true"


def _approval(values: Mapping[str, str]) -> Approval | None:
    return Approval(values.get("taskdb:approved", "")) if _flag(values, "taskdb:require_approval") else None


def _backup(values: Mapping[str, str]) -> Backup | None:
    backup = Backup(values.get("taskdb:backup", "never"), values.get("taskdb:backup_folder", ""))
    try:
        return backup if backup.properties else None
    except PolicyError as error:
        example = "taskdb:backup_folder backups" if "backup_folder" in str(error) else "taskdb:backup destructive"
        raise TaskdbError(f"taskdb:{error}. Set it as in: {_command('config set', example)}") from None


def _unknown(values: Mapping[str, str]) -> str | None:
    key = "taskdb:on_unknown_revision"
    value = values.get(key)
    if value not in (None, "rollback", "refuse"):
        raise TaskdbError(
            f"{key} is {value!r}: it is rollback or refuse. Set it: {_command('config set', f'{key} refuse')}"
        )
    return value


def _policy(values: Mapping[str, str]) -> Policy:
    try:
        return policy_of(values)
    except PolicyError as error:
        example = _command("config set", example_of(str(error)))
        raise TaskdbError(f"{error}. Set it as in: {example}") from None


def _database_name(project: str, stack: str) -> str:
    name = f"{project}_{stack}"
    longest = LONGEST_NAME - len(project) - len("_") - len(LONGEST_ROLE)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", stack) or len(stack) > longest:
        raise TaskdbError(
            f"the stack's name {stack!r} becomes part of database and role names: lower-case letters, digits, '_' and "
            f"'-', at most {longest} of them. Make a stack of another name: {_engine()} stack init NAME"
        )
    return name
