"""The values that describe a run of migrations, the gates that can stop it, and the listeners that it reports to."""

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
"""The attribute of Alembic's configuration that records that env.py has called `run`."""


Locks = Callable[[], "Mapping[str, LockPlan]"]
"""A function that returns the strong locks of each revision, by its id."""


@dataclass(frozen=True)
class Job:
    """A database, its scripts, and the revision to bring the database to.

    Attributes:
        directory: the directory of env.py, versions/ and the manifest.
        command: the command that a person repeats after a failure.
        trust: which stored scripts of the ledger are allowed to run if the directory lacks them. None for no script.
        origin: who runs this, from which commit. The ledger records it.
        allow_data_loss: ids of the revisions that are allowed to delete rows.
        history: the history of the directory, if it has been read already.
        adopted: the heads that are assumed for a database without any.
        contracts: when contracts are due. Those that are not due are held back. None to hold back nothing.
        baselines: whether an empty database starts from a baseline.

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
    baselines: bool = True

    def read_history(self) -> History:
        """Return the known history, or load it from the directory. Raises HistoryError."""
        return self.history or History.load(self.directory)


class Gate(Protocol):
    """A check that can stop a run before its first revision, by raising an exception. These defaults stop nothing."""

    def around(self) -> AbstractContextManager[object]:
        """Return a context that is entered after this run gets the migration lock, and left before it releases it."""
        return nullcontext()

    def approve(self, plan: Plan) -> Mapping[str, Any]:
        """Check the plan, and return the notes that the ledger records, by revision id. Raise to stop the run."""
        return {}

    def locks(self) -> Locks | None:
        """Return the function that knows the locks of the approved revisions. None leaves that to static analysis."""
        return None

    def back_up(self, plan: Plan, origin: Origin) -> str:
        """Back up the database as the approved plan needs it, and return the backup's id. Empty if it needs none."""
        return ""


class Listener(Protocol):
    """Receives progress of a run. These defaults ignore it. A method can be called from another thread."""

    def applied(self, revision: str) -> None:
        """Report that a revision is applied. Its transaction is not committed yet."""
        return

    def status(self, text: str) -> None:
        """Report what the run does now."""
        return

    def waits(self, text: str) -> None:
        """Report which other migration or session the run waits for."""
        return

    def kept(self, text: str) -> None:
        """Report which rows are preserved or restored."""
        return

    def backfill(self, text: str) -> None:
        """Report which backfill is complete, or how much of it is left."""
        return


class Forecast(Protocol):
    """Static analysis of the locks that scripts take."""

    def __call__(self, scripts: Sequence[Revision], *, is_upgrade: bool, document: Any) -> Mapping[str, LockPlan]:
        """Return the strong locks of each script, by revision id.

        Args:
            scripts: in the order in which they run.
            is_upgrade: whether their upgrades run.
            document: the catalog before the first script, as `read_catalog_document` reads it.

        """


class Observer(Protocol):
    """Observes revisions while they run, for a rehearsal."""

    def session(self, session: Connection) -> None:
        """Begin an attempt in this session."""

    def batched(self, statement: str) -> None:
        """Note that a batched update begins, in a block of its own."""

    def backfill(self, statement: str) -> None:
        """Note that the revision declares a backfill."""


class _Open(Gate):
    """Stops nothing."""


class _Silent(Listener):
    """Ignores everything."""


OPEN, SILENT = _Open(), _Silent()


@dataclass(frozen=True)
class Request:
    """One run of Alembic, by the `alembic` command or by a stack's update.

    A caller in the same process passes it as `config.attributes["request"]` of Alembic.

    Attributes:
        lock: the migration lock. None only for a run that changes nothing.
        observer: set only in a rehearsal.
        backup: the id of the backup that was taken before. The ledger records it.
        notes: by revision, what the ledger records in addition.
        locks: returns the locks of the revisions that were rehearsed or approved.
        restrict: removes held contracts from Alembic's list of steps, before the first one runs.

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
        """Return the script of a step of Alembic: from the checked history if it is there, otherwise from disk."""
        if self.job.history and (known := self.job.history.revisions.get(step.revision.revision)):
            return known
        path = Path(step.revision.path)
        return Revision.read(path.parent, path.name)
