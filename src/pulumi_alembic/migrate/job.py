"""What a run of migrations needs, what can stop it, and what it tells: for an update, a fan-out and the commands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.history import HEAD, History
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.phases import Contracts
from pulumi_alembic.scripts.plan import Plan
from pulumi_alembic.scripts.revision import Revision
from pulumi_alembic.scripts.trust import Trust

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.database.migration_lock import Lock
    from pulumi_alembic.sql.lock_plan import LockPlan

__all__ = ["ENTERED", "OPEN", "SILENT", "Forecast", "Gate", "Job", "Listener", "Locks", "Observer", "Request"]

ENTERED = "entered"
"""The attribute of Alembic's configuration that says that env.py came as far as to call `run`."""


Locks = Callable[[], "Mapping[str, LockPlan]"]
"""Finds the strong locks of revisions, by their ids."""


@dataclass(frozen=True)
class Job:
    """The database at `url`, the scripts of `directory`, and the revision to bring the database to.

    `command` is what a person repeats after a failure, and `allow_data_loss` are the revisions that are allowed to
    delete rows. With `trust` the ledger's scripts run if the directory has none. The ledger keeps `origin`. `history`
    is that of the directory, if it was read before. A database without heads is taken to be at those that are
    `adopted`. With `contracts` those that are not due are held.
    """

    url: str
    directory: Path
    target: str = HEAD
    command: str = ""
    policy: Policy = field(default_factory=Policy)
    trust: Trust | None = None
    origin: Origin = field(default_factory=Origin)
    allow_data_loss: frozenset[str] = frozenset()
    history: History | None = None
    adopted: tuple[str, ...] = ()
    contracts: Contracts | None = None

    def read_history(self) -> History:
        """The history that is known, or else that of the directory. Raises HistoryError."""
        return self.history or History.load(self.directory)


class Gate(Protocol):
    """Stops a run before its first revision, by what it raises; as it stands here, it stops nothing."""

    def around(self) -> AbstractContextManager[object]:
        """Is entered once no other migration runs, and left before another one can."""
        return nullcontext()

    def approve(self, plan: Plan) -> Mapping[str, Any]:
        """Look at what would run; the result is what the ledger keeps of each revision."""
        return {}

    def locks(self) -> Locks | None:
        """What finds the locks of the approved revisions; None if only their scripts tell."""
        return None

    def back_up(self, plan: Plan, origin: Origin) -> str:
        """Back up what is approved; the result is the id of the backup, or empty if none is wanted."""
        return ""


class Listener(Protocol):
    """Hears what a run does; as it stands here, it ignores it. A method can be called in another thread."""

    def applied(self, revision: str) -> None:
        """A revision is applied; this is within its transaction."""
        return

    def status(self, text: str) -> None:
        """What goes on."""
        return

    def waits(self, text: str) -> None:
        """For which other migration or session the run waits."""
        return

    def kept(self, text: str) -> None:
        """Which rows are preserved or restored."""
        return

    def backfill(self, text: str) -> None:
        """Which backfill is complete, or is left to be done."""
        return


class Forecast(Protocol):
    """Static analysis of what scripts lock."""

    def __call__(self, scripts: Sequence[Revision], *, is_upgrade: bool, document: Any) -> Mapping[str, LockPlan]:
        """The strong locks of each, run in this order; `document` is the catalog that the first of them meets."""


class Observer(Protocol):
    """Who looks on while revisions run."""

    def session(self, session: Connection) -> None:
        """An attempt begins, in this session."""

    def batched(self, statement: str) -> None:
        """A batched update begins, in a block of its own."""

    def backfill(self, statement: str) -> None:
        """The revision asks for a backfill."""


class _Open(Gate):
    """Stops nothing."""


class _Silent(Listener):
    """Ignores all."""


OPEN, SILENT = _Open(), _Silent()


@dataclass(frozen=True)
class Request:
    """One run of Alembic, by the `alembic` command and by a stack's update alike.

    A caller inside Python leaves it in Alembic's `config.attributes["request"]`. `lock` keeps other migrations out;
    None only for a run that changes nothing. The ledger keeps the id of the `backup` that was made before, and the
    `notes` of each revision. `locks` finds what was rehearsed or approved. `restrict` takes those that are held out
    of Alembic's steps, before the first one runs.
    """

    job: Job
    listener: Listener = SILENT
    lock: Lock | None = None
    observer: Observer | None = None
    backup: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    locks: Locks | None = None
    restrict: Callable[[list[Any]], None] | None = None

    def script(self, step: RevisionStep) -> Revision:
        """The script of a step of Alembic's: as it was checked, or else as it is now."""
        path = Path(step.revision.path)
        revisions = self.job.history.revisions if self.job.history else {}
        return revisions.get(step.revision.revision) or Revision.read(path.parent, path.name)
