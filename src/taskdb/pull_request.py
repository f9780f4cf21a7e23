"""The short-lived stack of a pull request, on the server and with the schema of its target stack."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pulumi_alembic import MigrationError
from pulumi_alembic.scripts.history import History
from taskdb.engine import Engine
from taskdb.errors import TaskdbError

__all__ = ["SOURCE", "PullRequest"]

SOURCE = "staging"
"""The stack whose server, configuration and schema the stack of a pull request starts from."""

REVISION = "taskdb:revision"
PROTECTION = {
    f"taskdb:{name}"
    for name in (
        *("production", "protect", "require_approval", "approved", "allow_data_loss", "promote_from"),
        *("backup", "backup_folder", "on_unknown_revision", "app_login"),
    )
}
"""Settings of the source that protect its data. The stack of a pull request has no data to protect."""


@dataclass(frozen=True)
class PullRequest:
    """The stack `pr-N` of the project in `folder`. Each method can be repeated, and completes an interrupted call."""

    number: int
    engine: Engine
    folder: Path
    source: str = SOURCE

    @classmethod
    def parse(cls, text: str, engine: Engine, folder: Path, source: str = SOURCE) -> PullRequest:
        """Return the pull request of `123` or `pr-123`, so that no other stack can be named.

        Raises:
            TaskdbError: The text has another form.

        """
        match = re.fullmatch(r"(?:pr-)?([1-9][0-9]{0,8})", text)
        if match is None:
            raise TaskdbError(f"{text!r} is not the number of a pull request, such as 123")
        return cls(int(match[1]), engine, folder, source)

    @property
    def stack(self) -> str:
        """The name of the stack."""
        return f"pr-{self.number}"

    @property
    def configuration(self) -> Path:
        """The stack's configuration file, which is never committed."""
        return self.folder / f"Pulumi.{self.stack}.yaml"

    def up(self, say: Callable[[str], None]) -> None:
        """Bring the stack up. A new one starts at the source's revision, and goes to the revision of these scripts.

        Raises:
            TaskdbError: The source is not up, or the scripts lack its revision. Nothing was created.

        """
        base = self.engine.ask("stack", "output", "revision", stack=self.source)
        self._require(base)
        values = json.loads(self.engine.ask("config", "--json", "--show-secrets", stack=self.source))
        exists = self.engine.has_stack(self.stack)
        self._configure(values)
        if not exists:
            self.engine.ask("stack", "init", "--no-select", stack=self.stack)
        for key, value in values.items():
            if value["secret"] and key not in PROTECTION:
                # On standard input, because every user of the machine can read arguments.
                self.engine.ask("config", "set", "--secret", key, stack=self.stack, stdin=value["value"])
        if "revision" not in json.loads(self.engine.ask("stack", "output", "--json", stack=self.stack)):
            say(f"creating {self.stack} at {base}, the revision of {self.source}")
            self._go(base)
        target = values[REVISION]["value"]
        say(f"updating {self.stack} to {target}")
        self._go(target)

    def down(self, say: Callable[[str], None]) -> None:
        """Drop the stack's database and roles, and remove the stack. Do nothing if it does not exist."""
        if self.engine.has_stack(self.stack):
            self.engine.show("destroy", "--yes", "--skip-preview", stack=self.stack)
            self.engine.show("stack", "rm", "--yes", stack=self.stack)
        else:
            say(f"There is no stack {self.stack}")
        self.configuration.unlink(missing_ok=True)

    def _require(self, revision: str) -> None:
        try:
            History.load(self.folder / "migrations").resolve(revision)
        except MigrationError as error:
            raise TaskdbError(
                f"{self.source} is at {revision}, from which {self.stack} would be made: {error}. "
                "Merge the branch that has it into this one"
            ) from None

    def _configure(self, values: dict[str, Any]) -> None:
        """Write the source's configuration without its protection. Secrets follow once the stack exists."""
        path = self.configuration
        kept = yaml.safe_load(path.read_text()) or {} if path.exists() else {}
        plain = {key: item for key, item in values.items() if not item["secret"] and key not in PROTECTION}
        kept["config"] = {key: item.get("objectValue", item["value"]) for key, item in plain.items()}
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(kept, sort_keys=False))

    def _go(self, revision: str) -> None:
        self.engine.ask("config", "set", REVISION, revision, stack=self.stack)
        self.engine.show("up", "--yes", "--skip-preview", stack=self.stack)
