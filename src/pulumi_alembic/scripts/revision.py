"""A revision script: its declarations, read without running it, and the checksum of its text."""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from io import FileIO
from pathlib import Path
from typing import Any

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.scripts import naming
from pulumi_alembic.scripts.manifest import Entry

__all__ = ["CONTRACT", "EXPAND", "Replaced", "Revision", "builds_on", "checksum", "normalised", "tree"]

EXPAND, CONTRACT = "expand", "contract"
"""The phases of a revision: code of the version before runs on an expand, and can fail after a contract."""


@dataclass(frozen=True)
class Replaced:
    """A revision whose script a squash has removed, as the script that replaces it lists it.

    Attributes:
        checksum: of the removed script.
        commit: has the removed script.

    """

    id: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    checksum: str
    commit: str

    @classmethod
    def of(cls, revision: Revision, commit: str) -> Replaced:
        """Return the line of a script that is in `commit`."""
        return cls(revision.id, revision.down, revision.depends_on, revision.checksum, commit)

    @classmethod
    def parse(cls, line: str) -> Replaced:
        """Return what `str` wrote."""
        line, _, commit = line.rpartition(" ")
        entry = Entry.parse(line)
        return cls(entry.file, entry.down, entry.depends_on, entry.checksum, commit)

    def __str__(self) -> str:
        """Return the line: the id and what follows a file's name in the manifest, then the commit."""
        return f"{Entry(self.id, self.down, self.depends_on, self.checksum)} {self.commit}"


_REPLACES = re.compile(r'^replaces = """\n((?:\S+ \S+ v1:[0-9a-f]{64} [0-9a-f]+\n)+)"""$', re.MULTILINE)


@dataclass(frozen=True)
class Revision:
    """One revision script.

    A stored script is one that is missing on disk, with its text from the ledger.

    Attributes:
        down: its `down_revision`, several for a merge.
        checksum: as `checksum` returns it for `source`.
        tools: of a stored script, the versions of the tools that ran it. None for a script on disk.

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
        """Read a script. It is parsed only if the checksum of `entry` differs.

        Args:
            folder: the directory of the scripts.
            file: its name. If the name follows the naming rule, the id is taken from it, otherwise from the script.
            entry: its line in the manifest, if there is one.
            by_rule: whether every file name must follow the rule.

        Raises:
            HistoryError: the name breaks the rule, the script declares another id, or it cannot be read.

        """
        # A string path and an unbuffered file, for speed: a history can have a thousand small files.
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
        """Return a stored script from the ledger. Raises HistoryError if the text declares another revision."""
        file = f"{id}.py"
        return cls(id, *_declared(f"{folder}/{file}", id, source), folder, file, source, checksum(source), tools)

    @property
    def is_stored(self) -> bool:
        """Whether the text is from the ledger, and not from disk."""
        return self.tools is not None

    @cached_property
    def path(self) -> Path:
        """The path of the script. A stored script has no file there."""
        return self.folder / self.file

    @property
    def down_revisions(self) -> tuple[str, ...]:
        """All revisions that it builds on, by down_revision or depends_on."""
        return self.down + self.depends_on

    @property
    def entry(self) -> Entry:
        """Its line in the manifest."""
        return Entry(self.file, self.down, self.depends_on, self.checksum)

    @cached_property
    def replaces(self) -> tuple[Replaced, ...]:
        """The revisions that it replaces, if a squash wrote it: itself, and all that it built on."""
        if self.down_revisions or not (lines := _REPLACES.search(self.source)):
            return ()
        return tuple(map(Replaced.parse, lines[1].splitlines()))

    @cached_property
    def identity(self) -> str:
        """The checksum that the ledger and promotion records know it by. A squash does not change it."""
        return next((replaced.checksum for replaced in self.replaces if replaced.id == self.id), self.checksum)

    @cached_property
    def message(self) -> str:
        """The first line of the script's docstring."""
        return (ast.get_docstring(_parse(self.path, self.source)) or "").strip().split("\n")[0]

    @cached_property
    def phase(self) -> str:
        """EXPAND or CONTRACT, from the script's `phase`.

        Raises:
            HistoryError: The value is neither, or a name such as `phases` has it, which is not read.

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
    """Return a digest of a script that ignores the kind of line endings: `v1:` and the SHA-256 of its text with LF.

    The prefix names the formula, so that the ledger can also contain later ones.
    """
    return "v1:" + hashlib.sha256(normalised(source).encode()).hexdigest()


@lru_cache(maxsize=4)
def tree(source: str) -> ast.Module:
    """Return the syntax tree of a script.

    It is cached for callers that look at the same script, which must not change it.

    Raises SyntaxError or ValueError, as `ast.parse` does.
    """
    return ast.parse(source)


def normalised(source: str) -> str:
    """Return the text with LF as its only line ending."""
    return source.replace("\r\n", "\n").replace("\r", "\n")


def builds_on(declared: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ids of a module's `down_revision`, and those of its `depends_on`."""
    return _ids(declared.get("down_revision")), _ids(declared.get("depends_on"))


def _declared_id(path: str, source: str) -> str:
    """Return the declared id of a script in a project that does not use the naming rule."""
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
    """Yield the module's `revision`, `down_revision` and `depends_on`, which must be literals."""
    for name, value in _assigned(tree):
        if name in {"revision", "down_revision", "depends_on"}:
            try:
                yield name, ast.literal_eval(value)
            except (ValueError, TypeError):
                raise HistoryError(f"{path}:{value.lineno}: {name} must be a plain literal") from None


def _assigned(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """Yield the names that the module assigns at its top level, and their expressions."""
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
