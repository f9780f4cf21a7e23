"""What a program says of the resource in more than one word: each group, and the properties that it becomes."""

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
    """A group of settings that mean something together."""

    @property
    @abstractmethod
    def properties(self) -> Wire:
        """The resource's properties; none for what is as it is by default. Raises PolicyError for what is invalid."""


@dataclass(frozen=True)
class Approval(Argument):
    """An update runs revisions only where the digest that a preview showed is `given`, or PULUMI_ALEMBIC_APPROVE."""

    given: pulumi.Input[str] = ""

    @property
    def properties(self) -> Wire:
        """The obligation, and what meets it."""
        return {Properties.require_approval: True, Properties.approved: self.given}


@dataclass(frozen=True)
class Backup(Argument):
    """An update backs up the database into `folder` first: `never`, before a `destructive` one, or `always`."""

    when: str = When.DESTRUCTIVE
    folder: str = ""

    @property
    def properties(self) -> Wire:
        """Both, if there are backups."""
        when = BackupSetting.parse(self.when, self.folder).when
        return {} if when is When.NEVER else {Properties.backup: str(when), Properties.backup_folder: self.folder}


@dataclass(frozen=True)
class Contract(Argument):
    """When revisions of phase contract run: `with-deploy`, `hold`, or a time after the newest expand before, as `24h`.

    The time goes by the server's clock. `hold` waits until somebody types `pulumi-alembic contract`.
    """

    when: str = phases.HOLD

    @property
    def properties(self) -> Wire:
        """It, as it is written."""
        return {Properties.contract: phases.parse(self.when)}


@dataclass(frozen=True)
class Drift(Argument):
    """What is no drift: what matches a pattern of `ignore`, such as `table app.tmp_*`, and what the program changes.

    `infrastructure` is any text that changes whenever the program changes roles, grants or the database by other
    resources; without it their changes are drift.
    """

    ignore: Sequence[str] = ()
    infrastructure: pulumi.Input[str] | None = None

    @property
    def properties(self) -> Wire:
        """What is said of either."""
        ignored = list(patterns(self.ignore))
        infrastructure = {} if self.infrastructure is None else {Properties.infrastructure: self.infrastructure}
        return infrastructure | ({Properties.drift_ignore: ignored} if ignored else {})


@dataclass(frozen=True)
class PromoteFrom(Argument):
    """The stack that runs revisions first, and its `proof` of them, as `proof_of` reads it.

    A revision is an error unless that stack has applied the same script on the same major version of PostgreSQL, and
    has rehearsed its downgrade. An update that cannot wait gives the reason in PULUMI_ALEMBIC_UNPROVEN.
    """

    stack: str
    proof: pulumi.Input[str | None]

    @property
    def properties(self) -> Wire:
        """Both."""
        return {Properties.lower: {"stack": self.stack, "proof": self.proof}}


@dataclass(frozen=True)
class Commands(Argument):
    """What is typed where the program reads its settings, for messages that name the way out.

    `lint` gives another severity to a rule, with `{rule}` in it; `backup` makes backups; `start` starts the server.
    `adopt` names the revision that a database is adopted at, with `{revision}` in it.
    """

    lint: str = ""
    backup: str = ""
    start: str = ""
    adopt: str = ""

    @property
    def properties(self) -> Wire:
        """Those that there are."""
        named = {
            Properties.configure: self.lint,
            Properties.configure_backup: self.backup,
            Properties.start: self.start,
            Properties.configure_adopt: self.adopt,
        }
        return {name: value for name, value in named.items() if value}


def properties_of(groups: Mapping[str, tuple[type[Argument], Argument | None]]) -> Wire:
    """The properties of all groups that there are. Raises PolicyError, naming the argument, for what is none."""
    properties: Wire = {}
    for name, (kind, group) in groups.items():
        if group is None:
            continue
        if not isinstance(group, kind):
            raise PolicyError(f"{name} must be pulumi_alembic.{kind.__name__}(…), not {group!r:.80}")
        properties |= group.properties
    return properties
