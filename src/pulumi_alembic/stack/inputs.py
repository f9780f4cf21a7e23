"""What the program asks of the resource, among its properties as they come over the wire."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi.output import Unknown

from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.drift.difference.ignored import patterns
from pulumi_alembic.migrate.data_loss.allowance import allowed
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.gates import APPROVE, Gates
from pulumi_alembic.review.lint import Settings, lint_settings
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.trust import Trust
from pulumi_alembic.stack import log

__all__ = [
    "ADMIN",
    "ADOPTS",
    "APPLIED",
    "APPLYING",
    "DETAILS",
    "DRIFT",
    "FINGERPRINT",
    "ID",
    "INFRASTRUCTURE",
    "Inputs",
    "Properties",
]

ID = "migrations.alembic_version"

ADMIN = "__rehearse_with"
"""An input that `check` keeps to itself: no state holds it."""

APPLYING = "__applying"
"""An input of updates alone, which `check` keeps to itself: what runs is told by the update, when nobody else migrates.

A plan's details in the state would be decoded by every preview from then on, and shown as taken away by the next one.
"""

APPLIED = "__applied"
"""Input and output: the digests of all scripts that are applied once the plan has run, or were before."""

FINGERPRINT = "schema_fingerprint"
"""An output: the digest of what the last update left in the database, and in its roles."""

DRIFT = "drift"
"""An output of a refresh alone: how the database differs from what the last update left."""

INFRASTRUCTURE = "infrastructure"
"""An input whose change says that the stack's other resources changed what belongs to the database."""

DETAILS = ("digest", "statements", "__plan", "__plans")
"""Inputs that say what a plan with anything to run does: its digest, its SQL, and its account or accounts as JSON."""
ADOPTS = "adopts"
"""An input that `check` adds: the heads that the update is to take over, and the digest of what it found there."""

Properties = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """What the program asks for. `url` is None where it is not known yet, because its database does not exist.

    `admin` is the URL of the login to rehearse with, empty where nobody does. `adopt` is `true`, or the revision that a
    database without heads is to be compared with, and `adopted` are the heads that it then is at.
    """

    url: str | None
    directory: Path
    target: str
    urn: str
    policy: Policy
    lint: Settings
    backup: BackupSetting
    refuses_unknown: bool = False
    admin: str = ""
    applying: bool = False
    drift_ignore: tuple[str, ...] = ()
    adopt: str = ""
    adopted: tuple[str, ...] = ()

    def gates(self, properties: Properties) -> Gates:
        """What an update with these properties is allowed to run. Raises PolicyError if it names no revision."""
        approved = os.environ.get(APPROVE) or properties.get("__approved") or ""
        return Gates(
            up=log.command("up", self.urn),
            configure=properties.get("__configure") or 'Migrations(lint={{"{rule}": "warning"}})',
            may_lose=allowed(properties.get("__allow_data_loss") or ()),
            preview=log.command("preview", self.urn),
            approved=approved if properties.get("require_approval") else None,
        )

    @classmethod
    def of(cls, properties: Properties) -> Inputs:
        """The inputs among a resource's properties."""
        url = properties["url"]
        known = None if isinstance(url, Unknown) else str(url)
        # State files from before there was a policy have none.
        policy = Policy.parse(properties.get("policy") or {})
        backup = BackupSetting.parse(properties.get("backup") or When.NEVER, properties.get("backup_folder") or "")
        admin = properties.get(ADMIN)
        return cls(
            known,
            Path(properties["directory"]),
            properties["target"],
            properties["__urn"],
            policy,
            lint_settings(properties),
            backup,
            trust.refuse(properties.get("on_unknown_revision") or trust.ROLLBACK),
            "" if isinstance(admin, Unknown) else str(admin or ""),
            bool(properties.get(APPLYING)),
            patterns(properties.get("drift_ignore") or ()),
            str(properties.get("adopt") or ""),
        )

    def trust(self, properties: Properties) -> Trust:
        """What vouches for capsules: the digests among these properties, and those that a person gives."""
        project = self.urn.split("::")[1] if self.urn.count("::") > 2 else "PROJECT"
        return Trust(
            trust.read(properties.get(APPLIED) or "", "the stack's state"),
            trust.read(os.environ.get(trust.VARIABLE) or "", trust.VARIABLE),
            not self.refuses_unknown,
            log.command("up", self.urn),
            log.command(f"config set {project}:on_unknown_revision {trust.ROLLBACK}", self.urn),
        )
