"""What is asked of one run of Alembic, by the `alembic` command and by a stack's update alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pulumi_alembic.database.migration_lock import Lock
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts.origin import Origin
from pulumi_alembic.scripts.revision import Revision

if TYPE_CHECKING:
    from alembic.runtime.migration import RevisionStep

    from pulumi_alembic.database.connection import Connection

__all__ = ["ENTERED", "Observer", "Request"]

ENTERED = "entered"
"""The attribute of Alembic's configuration that says that env.py came as far as to call `run`."""


def _unheard(_: str) -> None:
    """Says nothing to nobody."""


class Observer(Protocol):
    """Who looks on while revisions run."""

    def session(self, session: Connection) -> None:
        """An attempt begins, in this session."""

    def batched(self, statement: str) -> None:
        """A batched update begins, in a block of its own."""


@dataclass(frozen=True)
class Request:
    """A caller inside Python leaves it in Alembic's `config.attributes["request"]`.

    `command` is what a person repeats after a failure. `on_applied` is told each revision inside its own transaction,
    and `on_status` what a revision is doing and for whom it waits, from another thread too. `lock` is what keeps
    other migrations out; None only for a run that changes nothing. `scripts` are, by their ids, as they were checked:
    what is not among them is read when it runs. `allow_data_loss` are the revisions that may take away rows.
    `observer` looks on where there is one. `origin`, `backup`, the one made before, and the `notes` of each revision go
    into the ledger. `on_kept` is told what is preserved and what is restored.
    """

    url: str
    command: str
    on_applied: Callable[[str], None] = _unheard
    on_status: Callable[[str], None] = _unheard
    policy: Policy = field(default_factory=Policy)
    lock: Lock | None = None
    scripts: Mapping[str, Revision] = field(default_factory=dict)
    allow_data_loss: frozenset[str] = frozenset()
    observer: Observer | None = None
    origin: Origin = field(default_factory=Origin)
    backup: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)
    on_kept: Callable[[str], None] = _unheard

    def script(self, step: RevisionStep) -> Revision:
        """The script of a step of Alembic's."""
        path = Path(step.revision.path)
        return self.scripts.get(step.revision.revision) or Revision.read(path.parent, path.name)
