"""Write the revisions of a recipe with Alembic's template of the project.

Importing this module loads Alembic.
"""

from __future__ import annotations

import io
import re
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import date
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

from alembic.config import Config
from alembic.script import ScriptDirectory, write_hooks
from alembic.util import CommandError, rev_id

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.migrate.authoring import MANIFEST_HOOK
from pulumi_alembic.scripts import naming
from pulumi_alembic.scripts.history import HEAD, History

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulumi_alembic.migrate.recipes.draft import Draft

__all__ = ["write"]

_HOOK = "pulumi_alembic_recipe"
_DOWN_REVISION = re.compile(r"^down_revision\b.*\n", re.MULTILINE)


def write(directory: Path, project: Path, drafts: Sequence[Draft]) -> list[Path]:
    """Write a revision for each draft, the first one on the head, and add their lines to the manifest.

    Return their paths.

    Args:
        directory: the directory of the scripts.
        project: the directory with Alembic's settings, such as the template of file names.
        drafts: the revisions, the first one first.

    Raises:
        HistoryError: the scripts are not one history with one head, or the template does not give a valid script.

    """
    history = History.load(directory)
    history.resolve(HEAD)
    config = Config(project / "alembic.ini", toml_file=project / "pyproject.toml")
    config.set_main_option("script_location", str(directory.resolve()).replace("%", "%%"))
    taken, paths = [*history.revisions], list[Path]()
    try:
        scripts = ScriptDirectory.from_config(config)
        for draft in drafts:
            # The file is named after the message, so it must be ASCII.
            draft = replace(draft, message=draft.message.encode("ascii", "replace").decode())
            id = naming.next_revision_id(taken, date.today()) if history.is_named_by_rule else rev_id()
            scripts.hooks = [_hook(_HOOK, draft=draft), *scripts.hooks, _hook(MANIFEST_HOOK)]
            # Alembic prints each step.
            with redirect_stdout(io.StringIO()):
                revision = scripts.generate_revision(
                    id,
                    draft.message,
                    imports=f"from pulumi_alembic import {', '.join(draft.uses)}" if draft.uses else "",
                    upgrades=_body(draft.upgrade),
                    downgrades=_body(draft.downgrade),
                    config=config,
                )
            scripts.hooks = scripts.hooks[1:-1]
            taken.append(id)
            paths.append(Path(str(revision.path if revision else "")))
    except (CommandError, SyntaxError) as error:
        raise HistoryError(f"Alembic: {error}") from None
    return paths


def _hook(type: str, **more: Any) -> Any:
    return {"_hook_name": type, "type": type, **more}


def _body(statements: Sequence[str]) -> str:
    return "\n".join(indent(statement, "    ") for statement in statements).lstrip()


@write_hooks.register(_HOOK)
def _complete(path: str, options: Any) -> None:
    """Add what the project's template has no place for: the phase and the story."""
    draft: Draft = options["draft"]
    file = Path(path)
    text = file.read_text()
    text = text.replace(draft.message, f"{draft.message}\n\n{draft.story}", 1)
    if draft.contract:
        text = _DOWN_REVISION.sub(lambda match: f'{match[0]}phase = "contract"\n', text, count=1)
    if "import sqlalchemy as sa\n" in text and "sa." not in text.replace("import sqlalchemy as sa", ""):
        text = text.replace("import sqlalchemy as sa\n", "")
    file.write_text(text)
