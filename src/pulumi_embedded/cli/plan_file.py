"""The file of an update plan, which `preview --save-plan` writes and `up --plan` reads."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pulumi_embedded.cli.state import in_plaintext
from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.checkpoint import Codec
from pulumi_embedded.storage.files import write_atomically, write_private
from pulumi_embedded.storage.session import Stack

if TYPE_CHECKING:
    from pulumi_embedded.model.plan import UpdatePlan

__all__ = ["PlanFile"]


@dataclass(frozen=True)
class PlanFile:
    """A plan file. `name` is relative to the directory of the command."""

    folder: Path
    name: str

    @property
    def _path(self) -> Path:
        return self.folder / self.name

    def require_folder(self) -> None:
        """Raise EngineError if the directory of the file does not exist."""
        if not self._path.parent.is_dir():
            raise EngineError(f"the plan '{self.name}' cannot be written: there is no folder {self._path.parent}")

    def write(self, plan: UpdatePlan, stack: Stack, codec: Codec, *, show_secrets: bool) -> None:
        """Write the plan, completely or not at all, readable by this user only."""
        from pulumi_embedded.storage.plan_document import plan_document

        document: Any = plan_document(plan, stack.config.merged(), codec)
        text = json.dumps(in_plaintext(document, stack) if show_secrets else document, indent=4, ensure_ascii=False)
        if self._path.exists() and not self._path.is_file():
            write_private(self._path, text + "\n")
        else:
            write_atomically(self._path.resolve(), f"{text}\n".encode())

    def read(self, stack: Stack, codec: Codec) -> UpdatePlan:
        """Read the plan. Raises EngineError if the file has no plan of this stack."""
        from pulumi_embedded.storage.plan_document import parse_plan

        try:
            return parse_plan(self._path.read_text(encoding="utf-8"), stack.project, stack.name, codec)
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            why = "is damaged: it is no text"
        except EngineError as error:
            why = str(error)
        command = f"pulumi-embedded preview --stack {stack.name} --save-plan {shlex.quote(self.name)}"
        raise EngineError(f"the plan '{self.name}' {why}\nSave a plan of this stack:\n  {command}")

    def announce(self) -> None:
        """Print the path of the plan, and the command that uses it."""
        click.echo(
            f"Update plan written to '{self.name}'\nRun `pulumi-embedded up --plan='{self.name}'` to constrain the "
            "update to the operations planned by this preview",
            err=True,
        )
