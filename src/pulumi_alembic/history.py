"""The revisions on disk: their order, checksums and names. Reads the scripts, and runs none of them."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Any

from pulumi_alembic import naming
from pulumi_alembic.errors import HistoryError, TargetError

__all__ = ["BASE", "HEAD", "History", "Revision", "checksum"]

BASE = "base"
HEAD = "head"


@dataclass(frozen=True)
class Revision:
    """One script: what it declares of itself, and the checksum of its text."""

    id: str
    down_revisions: tuple[str, ...]
    message: str
    path: Path
    source: str

    @property
    def checksum(self) -> str:
        """See `checksum`."""
        return checksum(self.source)

    @classmethod
    def read(cls, path: Path) -> Revision:
        """What the script at `path` declares. Raises HistoryError where its name breaks the rule or belies it."""
        named = naming.revision_id_of(path.name)
        if named is None:
            raise HistoryError(
                f"{path} breaks the naming rule {naming.RULE}: rename it, or let `alembic revision -m …` name it"
            )
        try:
            source = path.read_bytes().decode()
            tree = ast.parse(source)
        except (SyntaxError, ValueError) as error:
            raise HistoryError(f"{path} is not readable Python: {error}") from None
        declared = dict(_literals(path, tree))
        if declared.get("revision") != named:
            raise HistoryError(
                f"{path} declares revision = {declared.get('revision')!r}, its name says {named!r}: make them equal"
            )
        downs = _ids(declared.get("down_revision")) + _ids(declared.get("depends_on"))
        message = (ast.get_docstring(tree) or "").strip().split("\n")[0]
        return cls(named, downs, message, path, source)


@dataclass(frozen=True)
class History:
    """Every down revision named by a script is itself a script of the history, and no revision is its own ancestor."""

    revisions: Mapping[str, Revision]

    @classmethod
    def load(cls, directory: Path) -> History:
        """Read `directory`/versions. Raises HistoryError, naming the file, for whatever breaks the invariants."""
        versions = directory / "versions"
        if not versions.is_dir():
            raise HistoryError(f"there is no folder {versions}: revision scripts are looked for there")
        scripts = sorted(path for path in versions.glob("*.py") if path.name != "__init__.py")
        return cls.of(Revision.read(path) for path in scripts)

    @classmethod
    def of(cls, revisions: Iterable[Revision]) -> History:
        """The history of these revisions, in any order. Raises HistoryError as `load` does."""
        by_id: dict[str, Revision] = {}
        for revision in revisions:
            if twin := by_id.get(revision.id):
                raise HistoryError(
                    f"{twin.path} and {revision.path} both are revision {revision.id}: renumber the newer one"
                )
            by_id[revision.id] = revision
        history = cls(by_id)
        history._refuse_gaps()
        history._refuse_rings()
        return history

    @cached_property
    def heads(self) -> tuple[str, ...]:
        """The revisions that no other one builds on, sorted."""
        built_on = {down for revision in self.revisions.values() for down in revision.down_revisions}
        return tuple(sorted(set(self.revisions) - built_on))

    def resolve(self, target: str) -> str:
        """The revision id that `target` stands for: `head`, `base` or an id.

        Raises TargetError where there is no such revision, or where `head` is more than one.
        """
        if target in self.revisions or target == BASE:
            return target
        if target != HEAD:
            known = ", ".join(sorted(self.revisions)) or "none"
            raise TargetError(f"there is no revision {target!r} in the scripts; there are: {known}")
        if len(self.heads) > 1:
            raise TargetError(
                f"the scripts have {len(self.heads)} heads, {' and '.join(self.heads)}: 'head' is not one revision. "
                f"Join them: {self.merge_command(self.heads)}"
            )
        return self.heads[0] if self.heads else BASE

    def ancestors(self, revisions: Iterable[str]) -> tuple[str, ...]:
        """The given revisions and all they build on, each behind everything that it builds on."""
        order: dict[str, None] = {}
        pending = [(revision, False) for revision in sorted(revisions, reverse=True)]
        while pending:
            revision, expanded = pending.pop()
            if revision in order:
                continue
            if expanded:
                order[revision] = None
                continue
            pending.append((revision, True))
            pending += [(down, False) for down in sorted(self.revisions[revision].down_revisions, reverse=True)]
        return tuple(order)

    def merge_command(self, revisions: Iterable[str]) -> str:
        """The command that joins these branches; `alembic merge` does not find the next id by itself."""
        next_id = naming.next_revision_id(self.revisions, date.today())
        return f"alembic merge --rev-id {next_id} -m 'merge branches' {' '.join(revisions)}"

    def _refuse_gaps(self) -> None:
        for revision in self.revisions.values():
            for down in revision.down_revisions:
                if down not in self.revisions:
                    raise HistoryError(
                        f"{revision.path} builds on revision {down}, but no script has that id: restore it, "
                        f"or correct down_revision"
                    )

    def _refuse_rings(self) -> None:
        remaining = {id: set(revision.down_revisions) for id, revision in self.revisions.items()}
        while ready := {id for id, downs in remaining.items() if not downs & remaining.keys()}:
            for id in ready:
                del remaining[id]
        if remaining:
            ring = ", ".join(sorted(remaining))
            raise HistoryError(f"the revisions {ring} build on one another in a ring: correct their down_revision")


def checksum(source: str) -> str:
    """A digest of a script that line endings do not change: `v1:` and the SHA-256 of its text with LF alone.

    The prefix names the formula, so that a later one can be told apart in the ledger.
    """
    normalised = source.replace("\r\n", "\n").replace("\r", "\n")
    return "v1:" + hashlib.sha256(normalised.encode()).hexdigest()


def _literals(path: Path, tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """The module's own `revision`, `down_revision` and `depends_on`, which must be literals as Alembic writes them."""
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and target.id in {"revision", "down_revision", "depends_on"}:
                try:
                    yield target.id, ast.literal_eval(node.value)  # type: ignore[attr-defined]
                except (ValueError, TypeError):
                    raise HistoryError(f"{path}:{node.lineno}: {target.id} must be a plain literal") from None


def _ids(declared: object) -> tuple[str, ...]:
    if declared is None:
        return ()
    if isinstance(declared, str):
        return (declared,)
    return tuple(str(id) for id in declared)  # type: ignore[attr-defined]
