"""Arguments of the resource that have several fields, and the properties that each of them becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.drift.difference.ignored import patterns
from pulumi_alembic.errors import PolicyError
from pulumi_alembic.scripts import phases
from pulumi_alembic.stack.properties import Properties, Wire

__all__ = ["Approval", "Argument", "Backup", "Commands", "Contract", "Drift", "PromoteFrom", "properties_of"]


class Argument(ABC):
    """A group of settings that belong together."""

    @property
    @abstractmethod
    def properties(self) -> Wire:
        """The resource's properties, without those at their default. Raises PolicyError if a setting is not valid."""


@dataclass(frozen=True)
class Approval(Argument):
    """Require an approval: revisions run only if the digest of a preview is `given`, or in PULUMI_ALEMBIC_APPROVE."""

    given: pulumi.Input[str] = ""

    @property
    def properties(self) -> Wire:
        """The requirement and the approved digest."""
        return {Properties.require_approval: True, Properties.approved: self.given}


@dataclass(frozen=True)
class Backup(Argument):
    """Back up the database before an update, into `folder`.

    `when` is `never`, `destructive` (before a plan that deletes something, or can) or `always`.
    """

    when: str = When.DESTRUCTIVE
    folder: str = ""

    @property
    def properties(self) -> Wire:
        """Both settings. None if backups are never taken."""
        when = BackupSetting.parse(self.when, self.folder).when
        return {} if when is When.NEVER else {Properties.backup: str(when), Properties.backup_folder: self.folder}


@dataclass(frozen=True)
class Contract(Argument):
    """When revisions of phase contract run.

    `when` is `with-deploy`, `hold`, or a time after the newest expand revision before it, such as `24h`. The time is
    measured by the server's clock. `hold` waits until a person runs `pulumi-alembic contract`.
    """

    when: str = phases.HOLD

    @property
    def properties(self) -> Wire:
        """The setting in its normal form."""
        return {Properties.contract: phases.parse(self.when)}


@dataclass(frozen=True)
class Drift(Argument):
    """Differences that are not reported as drift.

    `ignore` lists patterns such as `table app.tmp_*`. `infrastructure` is any text that changes whenever the program
    changes roles, grants or the database by other resources. Without it, those changes are reported as drift.
    """

    ignore: Sequence[str] = ()
    infrastructure: pulumi.Input[str] | None = None

    @property
    def properties(self) -> Wire:
        """The settings that are given."""
        ignored = list(patterns(self.ignore))
        infrastructure = {} if self.infrastructure is None else {Properties.infrastructure: self.infrastructure}
        return infrastructure | ({Properties.drift_ignore: ignored} if ignored else {})


@dataclass(frozen=True)
class PromoteFrom(Argument):
    """The stack that must run revisions first, and its `proof` of them, as `proof_of` reads it.

    A revision is an error unless that stack has applied the same script on the same major version of PostgreSQL, and
    has rehearsed its downgrade. An urgent update gives its reason in PULUMI_ALEMBIC_UNPROVEN.
    """

    stack: str
    proof: pulumi.Input[str | None]

    @property
    def properties(self) -> Wire:
        """The stack and its promotion record."""
        return {Properties.lower: {"stack": self.stack, "proof": self.proof}}


@dataclass(frozen=True)
class Commands(Argument):
    """Commands of the program that change its settings. Messages quote them.

    Attributes:
        lint: Gives a rule another severity. `{rule}` stands for its name.
        backup: Turns backups on.
        start: Starts the server.
        adopt: Names the revision at which a database is adopted. `{revision}` stands for its id.

    """

    lint: str = ""
    backup: str = ""
    start: str = ""
    adopt: str = ""

    @property
    def properties(self) -> Wire:
        """The commands that are given."""
        named = {
            Properties.configure: self.lint,
            Properties.configure_backup: self.backup,
            Properties.start: self.start,
            Properties.configure_adopt: self.adopt,
        }
        return {name: value for name, value in named.items() if value}


def properties_of(groups: Mapping[str, tuple[type[Argument], Argument | None]]) -> Wire:
    """Return the properties of all groups that are given.

    Raises:
        PolicyError: An argument has another type than its group, or a setting in it is not valid.

    """
    properties: Wire = {}
    for name, (kind, group) in groups.items():
        if group is None:
            continue
        if not isinstance(group, kind):
            raise PolicyError(f"{name} must be pulumi_alembic.{kind.__name__}(…), not {group!r:.80}")
        properties |= group.properties
    return properties
