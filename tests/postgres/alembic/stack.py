"""A stack's resource in process: `Stack` keeps its state as an engine does, and calls the provider as Pulumi does."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.scripts.history import History
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests.postgres.alembic.conftest import Target

PROVIDER = MigrationsProvider()


class Refused(Exception):
    """A preview failed, so the operation did not run."""


@dataclass
class Stack:
    """The state of one resource: inputs and outputs of its last operation.

    Empty before the first operation, or if lost.
    """

    url: str
    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, Any] = field(default_factory=dict)

    def preview(self, checkout: Path, target: str, **settings: Any) -> dict[str, Any]:
        """Return the inputs as `check` completes them. Raises Refused."""
        # The provider reads the project's name from this last property, the urn.
        asked = {"url": self.url, "directory": str(checkout), "target": target, "__urn": "urn:pulumi:dev::tasks::t::n"}
        answer = PROVIDER.check(self.inputs, asked | settings)
        if answer.failures:
            raise Refused(answer.failures[0].reason)
        return dict(answer.inputs)

    def up(self, checkout: Path, target: str, *, between: Callable[[], object] = lambda: None, **settings: Any) -> bool:
        """Update, and return whether there was anything to do.

        `between` is called after the update's own check, before the update runs. Raises Refused, or the error of the
        update. A failed update leaves its state as an engine keeps it.
        """
        checked = self.preview(checkout, target, **settings)
        changed = not self.outputs or PROVIDER.diff("id", self.outputs, checked).changes
        between()
        if changed:
            try:
                done = PROVIDER.update("id", self.outputs, checked) if self.outputs else PROVIDER.create(checked)
            except HalfDone as error:
                self.inputs, self.outputs = checked, error.outputs
                raise
            self.outputs = dict(done.outs or {})
        self.inputs = checked
        return changed

    def refresh(self) -> None:
        """Read the database into the state."""
        answer = PROVIDER.read("id", self.outputs)
        self.outputs, self.inputs = dict(answer.outs or {}), dict(answer.inputs or {})

    def lose(self) -> None:
        """Lose the state, but not the database."""
        self.inputs, self.outputs = {}, {}


def older(target: Target, *newer: str) -> Path:
    """Copy the scripts without the `newer` ones into another folder, as an older checkout."""
    checkout = target.directory.parent / f"older-{'-'.join(newer) or 'none'}" / "migrations"
    shutil.copytree(
        target.directory, checkout, ignore=shutil.ignore_patterns("__pycache__", *(f"{id}_*" for id in newer))
    )
    History.load(checkout).write_manifest()
    return checkout


def at(target: Target, checkout: Path) -> Target:
    """Return the same database with the scripts of another checkout."""
    return replace(target, directory=checkout)
