"""A stack's settings, read from its configuration. Come here to add a key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime import config as stack_config

from pulumi_alembic import Approval, Backup, Commands, Contract
from pulumi_alembic.policy import Policy
from taskdb.commands import command
from taskdb.errors import TaskdbError
from taskdb.policy import POLICY_KEYS
from taskdb.settings import readers
from taskdb.settings.admin import CONFIGURATION, REQUIRE_AUTH_KEY, UNVERIFIED_KEY, Admin, admin_of
from taskdb.settings.readers import flag

__all__ = ["Settings"]

TEMPORARY_TABLES_KEY = "taskdb:temporary_tables"
KEYS = {
    "taskdb": {
        "taskdb:revision",
        "taskdb:require_approval",
        "taskdb:approved",
        "taskdb:allow_data_loss",
        "taskdb:rehearse",
        readers.DRIFT_KEY,
        "taskdb:adopt",
        "taskdb:baselines",
        *readers.BACKUP_KEYS,
        *readers.LINT_KEYS,
        readers.PROMOTE_FROM,
        readers.CONTRACT_KEY,
        readers.UNKNOWN_KEY,
        "taskdb:protect",
        "taskdb:reporter",
        readers.APP_LOGIN_KEY,
        readers.CONNECTION_LIMIT_KEY,
        TEMPORARY_TABLES_KEY,
        REQUIRE_AUTH_KEY,
        UNVERIFIED_KEY,
        *POLICY_KEYS,
    },
    "postgresql": set(CONFIGURATION.values()),
}
_ALIKE = 0.8
"""The similarity, from 0 to 1, from which on an unknown key counts as a typing error."""


@dataclass(frozen=True)
class Settings:
    """A stack's settings. Stacks can share a server, because their roles have the prefix `database`.

    Attributes:
        database: The name of the database, and the prefix of its roles.
        revision: `head` or a revision id.
        policy: How long a migration waits.
        admin: The server, and the login that creates roles and databases.
        approval: The approved digest. None if the stack requires no approval.
        allow_data_loss: The revisions that are allowed to delete rows.
        lint: The severities of rules.
        production: Whether the stack is a production stack.
        lower: The upstream stack, which runs revisions first. Empty if there is none.
        backup: When to back up and the directory. None without backups.
        on_unknown_revision: `rollback` or `refuse`. None if the stack's name decides.
        rehearse: Whether previews run revisions in a scratch database, as by default on the development server.
        protect: Whether database and roles cannot be deleted, as by default on a production stack.
        app_login: The login whose URL is exported, `a` or `b`.
        app_connections: The limit of sessions of each application login. None if it is not configured.
        temporary_tables: Whether revisions can create temporary tables. None if it is not configured.
        drift_ignore: Patterns of objects that are not compared.
        adopt: `true`, a revision id, or empty.
        reporter: Whether there is a login that can make reports and can read no row.
        contract: When contracts run. None if the kind of the stack decides.
        baselines: Whether an empty database starts from a baseline. Otherwise all revisions run.

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
    contract: Contract | None = None
    baselines: bool = True

    @classmethod
    def load(cls, project: Path) -> Settings:
        """Load the settings of the stack that is being run.

        The server is that of the stack's `postgresql:` configuration, otherwise of PGHOST and its related variables,
        otherwise the development server.

        Args:
            project: The directory of Pulumi.yaml.

        Raises:
            TaskdbError: A key is unknown or its value is not valid. The text contains the command that fixes it.

        """
        values = {**stack_config.CONFIG.get(), **stack_config.get_config_env()}
        _refuse_unknown(values)
        name = readers.database_name(pulumi.get_project(), pulumi.get_stack())
        approval, allowed = readers.approval_of(values), readers.allowed_losses(values)
        lint, production = readers.lint_of(values), readers.production_of(values)
        lower, backup, unknown = (
            readers.lower_of(values, project),
            readers.backup_of(values),
            readers.unknown_revision_of(values),
        )
        revision, policy = readers.revision_of(values), readers.policy(values)
        admin = admin_of(values, project, production=production)
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
            rehearse=flag(values, "taskdb:rehearse", default=admin.local),
            protect=flag(values, "taskdb:protect", default=production),
            app_login=readers.app_login_of(values),
            app_connections=readers.configured_limit(values),
            temporary_tables=flag(values, TEMPORARY_TABLES_KEY) if TEMPORARY_TABLES_KEY in values else None,
            drift_ignore=readers.drift_ignore_of(values),
            adopt=readers.adopt_of(values),
            reporter=flag(values, "taskdb:reporter"),
            contract=readers.contract_of(values),
            baselines=flag(values, "taskdb:baselines", default=True),
        )

    @property
    def commands(self) -> Commands:
        """The commands that configure the stack, for messages. Those for backups are two lines."""
        folder, when = ("taskdb:backup_folder backups", "taskdb:backup destructive")
        backup = "\n".join(command("config set", key) for key in (folder, when))
        lint = command("config set --path", "taskdb:lint.{rule} warning")
        adopt = command("config set", "taskdb:adopt {revision}")
        return Commands(lint, backup, "taskdb server start" if self.admin.local else "", adopt)


def _refuse_unknown(values: Mapping[str, str]) -> None:
    known_keys = {key for keys in KEYS.values() for key in keys}
    for key in sorted(values.keys() - known_keys):
        namespace, _, name = key.partition(":")
        meant = get_close_matches(namespace, KEYS, 1, _ALIKE)
        if not meant:
            # The key belongs to another provider.
            continue
        close = get_close_matches(f"{meant[0]}:{name}", KEYS[meant[0]], 1, _ALIKE)
        hint = f"did you mean {close[0]}?" if close else f"the keys are {', '.join(sorted(KEYS[meant[0]]))}."
        raise TaskdbError(f"unknown configuration {key}: {hint} Remove it:\n  {command('config rm', key)}")
