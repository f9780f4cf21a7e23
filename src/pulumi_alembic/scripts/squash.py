"""Squash: one script, which builds what a baseline builds, takes the place of a revision and all that it builds on.

Pure, except for the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pulumi_alembic.errors import BaselineError, HistoryError
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts import baseline
from pulumi_alembic.scripts.history import SQUASH, History
from pulumi_alembic.scripts.manifest import Manifest
from pulumi_alembic.scripts.origin import head
from pulumi_alembic.scripts.revision import Replaced, Revision

__all__ = ["squash"]

_SCRIPT = '''"""baseline of {id}, in place of {count}

`{command}` wrote this script. A database that is older than {id}, or goes back behind it, needs the scripts
that this one replaces. They are in the commits below.
"""

# ruff: noqa: E501
import sqlalchemy as sa
from alembic import op

from pulumi_alembic import TargetError

revision = "{id}"
down_revision = None

# A revision, what it builds on, the checksum of its script, and the commit that has it.
replaces = """
{lines}
"""

SQL = {sql}


def upgrade() -> None:
    op.execute(sa.DDL(SQL.replace("%", "%%")))


def downgrade() -> None:
    raise TargetError("{id} is a baseline. Check out the scripts that it replaces:\\n  git checkout {commit}")
'''


def squash(directory: Path, target: str) -> Revision:
    """Replace the scripts of the revision `target` and of all that it builds on by one, and update the manifest.

    The script has the statements of the revision's baseline, which is removed too. If an earlier call was interrupted,
    this one completes it. A squash that is complete stays as it is. No database is needed.

    Raises:
        BaselineError: The revision cannot be squashed: it has no baseline, it builds on nothing, another revision
            builds on what it replaces, or git has no commit with the scripts. No file was changed.
        HistoryError: The manifest does not match the scripts. No file was changed.

    """
    script = next((script for script in _scripts(directory) if script.id == target and script.replaces), None)
    script = script or _write(directory, target)
    replaced = {replaced.id for replaced in script.replaces}
    left = [path for path in (directory / baseline.FOLDER).glob("*.sql") if path.stem in replaced]
    left += [other.path for other in _scripts(directory) if other.id in replaced - {script.id}]
    if left or script.entry not in Manifest.load(directory).entries:
        for path in left:
            path.unlink()
        History.load(directory).write_manifest()
    return script


def _scripts(directory: Path) -> Iterator[Revision]:
    versions = directory / "versions"
    listed = {entry.file: entry for entry in Manifest.load(directory).entries}
    for path in sorted(versions.glob("*.py")):
        if path.name != "__init__.py":
            yield Revision.read(versions, path.name, listed.get(path.name))


def _write(directory: Path, target: str) -> Revision:
    history = History.load(directory)
    history.require_manifest()
    if not history.manifest.exists:
        raise HistoryError(history.manifest.warning)
    id = history.resolve(target)
    if id not in history.revisions:
        raise BaselineError(f"{target} has no script here: a squash is of one revision and all that it builds on")
    revisions = [history.revisions[covered] for covered in history.ancestors([id])]
    if len(revisions) == 1:
        raise BaselineError(f"{id} builds on no other revision, so there is nothing to squash")
    _refuse_branches(history, revisions)
    if id not in history.baselines:
        raise BaselineError(f"there is no baseline of {id}. Write it, and commit it:\n  {baseline.COMMAND} {id}")
    script = revisions[-1]
    temporary = script.path.with_suffix(".squash")
    if temporary.exists():
        # A call was interrupted while it wrote.
        temporary.unlink()
    commit = head(directory)
    if not commit or commit.endswith("+"):
        raise BaselineError(
            f"the scripts that {SQUASH} removes must be in git, where an older database finds them. Commit them:\n"
            f"  git add {directory} && git commit"
        )
    replaced = [replaced for revision in revisions for replaced in revision.replaces or [Replaced.of(revision, commit)]]
    text = _SCRIPT.format(
        id=id,
        count=counted(len(replaced), "revision"),
        command=SQUASH,
        lines="\n".join(map(str, replaced)),
        sql=_literal(history.baselines[id].text),
        commit=commit,
    )
    temporary.write_text(text, newline="\n")
    temporary.replace(script.path)
    return Revision.read(script.folder, script.file)


def _refuse_branches(history: History, revisions: list[Revision]) -> None:
    gone = {revision.id for revision in revisions[:-1]}
    kept = history.revisions.keys() - gone - {revisions[-1].id}
    for revision in (history.revisions[id] for id in sorted(kept)):
        if behind := sorted(gone.intersection(revision.down_revisions)):
            raise BaselineError(
                f"{revision.path} builds on {behind[0]}, which a squash of {revisions[-1].id} removes. Squash a "
                "revision that is on the way to all newer ones"
            )


def _literal(text: str) -> str:
    """Return the text as a literal of Python that people can read, if one can hold it."""
    return repr(text) if re.search('"""|[\\r\\0]', text) else f'r"""{text}"""'
