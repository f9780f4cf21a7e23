"""The properties of a Migrations resource: the program's inputs, what `check` adds, and what an update returns.

Come here to add a property. No other module writes a key of the state. Two read some without loading Pulumi:
review/report/preview.py in what `pulumi preview --json` prints, and status/states.py in state files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from pulumi.output import Unknown

from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.drift.difference.ignored import patterns
from pulumi_alembic.migrate.data_loss.settings import allowed
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.gates import APPROVE, Gates
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.scripts import phases, trust
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.phases import Contracts
from pulumi_alembic.scripts.promotion import Lower
from pulumi_alembic.scripts.trust import Trust
from pulumi_alembic.stack.log import Log

__all__ = ["DETAILS", "ID", "Properties", "Wire"]

ID = "migrations.alembic_version"

Wire = dict[str, Any]
"""Properties as an engine sends them and as states store them."""

STATE = "the stack's state"

_T = TypeVar("_T")


class _Property(Generic[_T]):
    """One property: read from the class it is the key, read from an object it is the value.

    The key is the name of the field, unless another one is given.
    """

    def __init__(self, read: Callable[[Any], _T], key: str = "") -> None:
        self._read, self._key = read, key

    def __set_name__(self, owner: type[Properties], name: str) -> None:
        self._key = self._key or name

    @overload
    def __get__(self, properties: None, owner: type[Properties]) -> str: ...

    @overload
    def __get__(self, properties: Properties, owner: type[Properties]) -> _T: ...

    def __get__(self, properties: Properties | None, owner: type[Properties]) -> str | _T:
        return self._key if properties is None else self._read(properties.wire.get(self._key))


def _any(value: Any) -> Any:
    return value


def _text(value: Any) -> str:
    """Return the text of a value, empty if the value is missing or not known yet."""
    return "" if isinstance(value, Unknown) else str(value or "")


def _known(value: Any) -> str | None:
    return None if value is None or isinstance(value, Unknown) else str(value)


class Properties:
    """The properties by name.

    Keys that begin with two underscores are not for people. `url` is None until its database exists.
    `check` removes `rehearse_with`, the URL of the login for rehearsals, and `applying`, which is set during an update.
    The state never contains these two, nor the details of a plan. Each preview would decode the details, and the next
    one would show them as deleted.
    """

    url = _Property(_known)
    directory = _Property(lambda value: Path(value or ""))
    target = _Property(_text)
    urn = _Property(_text, "__urn")
    # State files from before there was a policy have none.
    policy = _Property(lambda value: Policy.parse(value or {}))
    lint = _Property(lambda value: value or {})
    production = _Property(bool, "__production")
    configure = _Property(lambda value: value or 'Migrations(lint={{"{rule}": "warning"}})', "__configure")
    configure_backup = _Property(_text, "__configure_backup")
    configure_adopt = _Property(lambda value: value or 'Migrations(adopt="{revision}")', "__configure_adopt")
    start = _Property(_text, "__start")
    """The command that starts the server."""
    backup = _Property(lambda value: str(value or When.NEVER))
    backup_folder = _Property(_text)
    lower = _Property(_any, "__lower")
    on_unknown_revision = _Property(lambda value: value or trust.ROLLBACK)
    rehearse_with = _Property(_text, "__rehearse_with")
    applying = _Property(bool, "__applying")
    require_approval = _Property(bool)
    approved = _Property(_text, "__approved")
    allow_data_loss = _Property(lambda value: value or (), "__allow_data_loss")
    drift_ignore = _Property(lambda value: patterns(value or ()))
    infrastructure = _Property(_any)
    """A text whose change shows that other resources of the stack changed the database or its roles."""
    adopt = _Property(_text)
    """`true`, or the revision with which a database without heads is compared."""

    baselines = _Property(lambda value: value is not False)
    """Whether an empty database starts from a baseline. The state has the key only if it does not."""

    databases = _Property(_any)
    schemas = _Property(_any)
    """The tenants' schemas, in place of databases."""
    shared_schemas = _Property(lambda value: tuple(value or ()))
    query = _Property(_any)
    query_url = _Property(_any, "__query_url")
    query_timeout = _Property(lambda value: value or "10s")
    waves = _Property(lambda value: value or {})
    names = _Property(_text, "__databases")
    """Input and output: the packed names of the databases or schemas, unless they are too many for a state."""

    contract = _Property(_text)
    """When contracts run, as `phases.parse` returns it; empty for the default."""
    effective_target = _Property(_text)
    """The revision that the plan reaches if contracts are held, or several joined by `+`. Otherwise it is `target`."""
    held = _Property(_any)
    """By revision, the reason why it waits: the held contracts, and the merges behind them."""

    plan = _Property(_text)
    serial = _Property(lambda value: int(value or 0), "__serial")
    applied = _Property(_text, "__applied")
    """Input and output: the digests of all scripts that are applied before or after the plan."""
    adopts = _Property(_any)
    """The heads that the update adopts, and the digest of the catalog that `check` found."""
    digest = _Property(_text)
    statements = _Property(_any)
    review = _Property(_text, "__plan")
    reviews = _Property(_text, "__plans")
    proves = _Property(_text, "__proof")
    """The promotion record of the stack after the plan has run."""
    way_back = _Property(lambda value: trust.read(value or "", STATE), "__way_back")
    """The digests of the scripts whose downgrade was rehearsed before they ran."""
    unproven = _Property(lambda value: value or {}, "__unproven")
    """The revisions that ran before the upstream stack proved them, each with its reason."""

    revision = _Property(_text)
    proof = _Property(_text)
    schema_fingerprint = _Property(_text)
    """The digest of the schema and of its roles after the last update."""
    drift = _Property(_any)
    """An output of a refresh only: the differences from what the last update left."""
    drift_left = _Property(_any, "__drift")
    """An output of an update only: the differences that it printed. Unlike `drift` they need no update."""
    revisions = _Property(_any)
    failures = _Property(_any)

    def __init__(self, wire: Mapping[str, Any]) -> None:
        self.wire = wire

    @classmethod
    def of(cls, wire: Mapping[str, Any]) -> Properties:
        """Return a program's inputs after checking them. Raises MigrationError if a setting is not valid."""
        properties = cls(wire)
        for _ in (
            properties.policy,
            properties.backup_setting,
            properties.lint_settings,
            properties.refuses_unknown,
            properties.drift_ignore,
            properties.contracts,
        ):
            """Reading each property checks it before anything else is done."""
        return properties

    def without(self, *keys: str) -> Wire:
        """Return all properties but these."""
        return {key: value for key, value in self.wire.items() if key not in keys}

    @cached_property
    def log(self) -> Log:
        """The messages to the person at the terminal about this resource."""
        return Log(self.urn)

    @cached_property
    def backup_setting(self) -> BackupSetting:
        """When to back up, and the directory."""
        return BackupSetting.parse(self.backup, self.backup_folder)

    @cached_property
    def lint_settings(self) -> Settings:
        """The severities of lint and the settings that its rules need."""
        return Settings.parse(
            self.lint,
            production=self.production,
            backup=self.backup,
            configure_backup=self.configure_backup or Settings.configure_backup,
            lower=Lower.of(self.lower),
            phased=bool(self.contract),
        )

    @property
    def refuses_unknown(self) -> bool:
        """Whether an update refuses a database at a revision that the scripts lack."""
        return trust.refuse(self.on_unknown_revision)

    @property
    def is_many(self) -> bool:
        """Whether the resource has many databases, or many schemas."""
        return any(key in self.wire for key in (Properties.databases, Properties.schemas, Properties.query))

    @property
    def gates(self) -> Gates:
        """The checks that can stop an update. Raises PolicyError if `allow_data_loss` names no revision."""
        approved = os.environ.get(APPROVE) or self.approved
        return Gates(
            up=self.log.command("up"),
            configure=self.configure,
            may_lose=allowed(self.allow_data_loss),
            preview=self.log.command("preview"),
            approved=approved if self.require_approval else None,
        )

    @property
    def reaches(self) -> str:
        """The revision that an update reaches: `target`, unless contracts are held."""
        return self.effective_target or self.target

    @property
    def contracts(self) -> Contracts:
        """When contracts run. Raises PolicyError if the reason in the environment is not valid."""
        when = phases.parse(self.contract) if self.contract else ""
        return Contracts(when, self.production, reason=phases.reason_of())

    def job(self, known: Properties, decided: str = "") -> Job:
        """Return what a run of these inputs needs.

        Args:
            known: Properties whose digests vouch for stored scripts, beside those that a person gives.
            decided: The target of the preview of this command. A contract that became due since then is held.

        """
        project = self.urn.split("::")[1] if self.urn.count("::") > 2 else "PROJECT"
        up = self.log.command("up")
        vouched = Trust(
            trust.read(known.applied, STATE),
            trust.read(os.environ.get(trust.VARIABLE) or "", trust.VARIABLE),
            not self.refuses_unknown,
            up,
            self.log.command(f"config set {project}:on_unknown_revision {trust.ROLLBACK}"),
        )
        origin = Origin(self.log.stack)
        job = Job(self.url or "", self.directory, self.target, up, self.policy, vouched, origin)
        return replace(job, contracts=replace(self.contracts, decided=decided), baselines=self.baselines)


DETAILS = (Properties.digest, Properties.statements, Properties.review, Properties.reviews)
"""Inputs that describe a plan with anything to run: its digest, its SQL, and its review or reviews as JSON."""
