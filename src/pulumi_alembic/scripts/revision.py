"""One revision script: what it declares of itself, and the checksum of its text. Reads it, and never runs it."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.scripts import naming
from pulumi_alembic.scripts.manifest import Entry

__all__ = ["CONTRACT", "EXPAND", "Revision", "builds_on", "checksum", "normalised", "tree"]

EXPAND, CONTRACT = "expand", "contract"
"""The phases of a revision: code of the version before runs on an expand, and can fail after a contract."""


@dataclass(frozen=True)
class Revision:
    """One script: its id, its `down_revision` and `depends_on`, its text, and the `checksum` of that.

    A stored script is one that is not in the folder where its name says: its text is the ledger's, and `tools` are the
    versions that ran it, as the ledger says.
    """

    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    folder: Path
    file: str
    source: str
    checksum: str
    tools: tuple[tuple[str, str], ...] | None = None

    @classmethod
    def read(cls, folder: Path, file: str, entry: Entry | None = None, *, by_rule: bool = False) -> Revision:
        """What a script declares: what `entry` says where its checksum fits, without parsing the script.

        The id is that of a file that is named by the rule, and what any other script says: with `by_rule`, where the
        rule holds, there is no other.
        Raises HistoryError where its name breaks the rule or belies it, or where it cannot be read.
        """
        # Neither a Path nor a buffer before it is needed: a history is a thousand small files.
        path = f"{folder}/{file}"
        named = naming.revision_id_of(file)
        if named is None and by_rule:
            raise HistoryError(
                f"{path} breaks the naming rule {naming.RULE}: rename it, or let `alembic revision -m …` name it"
            )
        try:
            with FileIO(path) as script:
                source = script.readall().decode()
        except (OSError, ValueError) as error:
            raise HistoryError(f"{path} is not readable: {error}") from None
        digest = checksum(source)
        if named is None:
            named = _declared_id(path, source)
        if entry is not None and entry.checksum == digest:
            return cls(named, entry.down, entry.depends_on, folder, file, source, digest)
        return cls(named, *_declared(path, named, source), folder, file, source, digest)

    @classmethod
    def stored(cls, id: str, folder: Path, source: str, tools: tuple[tuple[str, str], ...]) -> Revision:
        """The script of a revision as the ledger keeps it. Raises HistoryError where it is not that revision's."""
        file = f"{id}.py"
        return cls(id, *_declared(f"{folder}/{file}", id, source), folder, file, source, checksum(source), tools)

    @property
    def is_stored(self) -> bool:
        """Whether it is the ledger's, and not on disk."""
        return self.tools is not None

    @cached_property
    def path(self) -> Path:
        """Where it is."""
        return self.folder / self.file

    @property
    def down_revisions(self) -> tuple[str, ...]:
        """The revisions that it builds on, in either way."""
        return self.down + self.depends_on

    @property
    def entry(self) -> Entry:
        """What a manifest says of it."""
        return Entry(self.file, self.down, self.depends_on, self.checksum)

    @cached_property
    def message(self) -> str:
        """The first line of the script's docstring."""
        return (ast.get_docstring(_parse(self.path, self.source)) or "").strip().split("\n")[0]

    @cached_property
    def phase(self) -> str:
        """EXPAND or CONTRACT, by the script's `phase`.

        Raises:
            HistoryError: The script says something else, or says it under a name that nothing reads.

        """
        if _PHASE not in (text := self.source.lower()) and CONTRACT not in text:
            return EXPAND
        from difflib import get_close_matches

        phase = EXPAND
        for name, node in _assigned(_parse(self.path, self.source)):
            value = node.value if isinstance(node, ast.Constant) else None
            where = f"{self.path}:{node.lineno}"
            if name == _PHASE:
                if value not in (EXPAND, CONTRACT):
                    source = ast.unparse(node)[:80]
                    raise HistoryError(f"{where}: phase must be {EXPAND!r} or {CONTRACT!r}, not {source}")
                phase = str(value)
            elif value in (EXPAND, CONTRACT) and get_close_matches(name.lower(), [_PHASE], cutoff=0.75):
                raise HistoryError(f"{where}: {name} is not read. Write:\n  phase = {value!r}")
        return phase


_PHASE = "phase"


def checksum(source: str) -> str:
    """A digest of a script that line endings do not change: `v1:` and the SHA-256 of its text with LF alone.

    The prefix names the formula, so that a later one can be told apart in the ledger.
    """
    return "v1:" + hashlib.sha256(normalised(source).encode()).hexdigest()


@lru_cache(maxsize=4)
def tree(source: str) -> ast.Module:
    """A script's text as a tree, made once for all that look at one script in turn; none of them changes it.

    Raises SyntaxError or ValueError, as `ast.parse` does.
    """
    return ast.parse(source)


def normalised(source: str) -> str:
    """The text with LF alone as its line endings."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def builds_on(declared: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of a module's `down_revision`, and those of its `depends_on`."""
    return _ids(declared.get("down_revision")), _ids(declared.get("depends_on"))


def _declared_id(path: str, source: str) -> str:
    """The id of a script that has one of Alembic's, in a project where the naming rule does not hold."""
    id = dict(_literals(path, _parse(path, source))).get("revision")
    if not isinstance(id, str) or not naming.is_usable(id):
        raise HistoryError(
            f"{path} breaks the naming rule {naming.RULE}, and declares revision = {id!r}: in a project with ids of "
            "Alembic's they have 1 to 32 letters, digits and underscores"
        )
    if naming.is_meant(id):
        raise HistoryError(
            f"{path} breaks the naming rule {naming.RULE}: rename it, or let `alembic revision -m …` name it"
        )
    if " " in path.rpartition("/")[2]:
        raise HistoryError(f"{path} has a space in its name, which the manifest cannot hold: rename it")
    return id


def _declared(path: str, id: str, source: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    declared = dict(_literals(path, _parse(path, source)))
    if declared.get("revision") != id:
        raise HistoryError(
            f"{path} declares revision = {declared.get('revision')!r}, its name says {id!r}: make them equal"
        )
    return builds_on(declared)


def _parse(path: str | Path, source: str) -> ast.Module:
    try:
        return tree(source)
    except SyntaxError as error:
        raise HistoryError(f"{path}, line {error.lineno}: {error.msg}") from None
    except ValueError as error:
        raise HistoryError(f"{path} is not readable Python: {error}") from None


def _literals(path: str | Path, tree: ast.Module) -> Iterator[tuple[str, Any]]:
    """The module's own `revision`, `down_revision` and `depends_on`, which must be literals as Alembic writes them."""
    for name, value in _assigned(tree):
        if name in {"revision", "down_revision", "depends_on"}:
            try:
                yield name, ast.literal_eval(value)
            except (ValueError, TypeError):
                raise HistoryError(f"{path}:{value.lineno}: {name} must be a plain literal") from None


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """The names that the module itself assigns, and the expression of each."""
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name) and node.value is not None:  # type: ignore[attr-defined]
                yield target.id, node.value  # type: ignore[attr-defined]


def _ids(declared: object) -> tuple[str, ...]:
    if declared is None:
        return ()
    if isinstance(declared, str):
        return (declared,)
    return tuple(str(id) for id in declared)  # type: ignore[attr-defined]
