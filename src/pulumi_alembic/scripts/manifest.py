"""The manifest: a committed file with a hash chain of all scripts' checksums, so that two branches conflict in git."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["COMMAND", "WRITE", "Entry", "Manifest"]

COMMAND = "pulumi-alembic manifest"
"""The command that writes the manifest again."""
WRITE = f"Write it:\n  {COMMAND}"

FILE = "manifest"
HEADER = (
    "# pulumi-alembic manifest 1: FILE DOWN_REVISION[+DEPENDS_ON] CHECKSUM CHAIN, of the line and the chain before it"
)
NOTHING = "base"
CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")


@dataclass(frozen=True)
class Entry:
    """One line of the manifest, for one script.

    Attributes:
        down: the script's `down_revision`, several for a merge.
        checksum: of the script's text, as `revision.checksum` returns it.

    """

    file: str
    down: tuple[str, ...]
    depends_on: tuple[str, ...]
    checksum: str

    def __str__(self) -> str:
        """Return the line without its chain."""
        depends_on = f"+{','.join(self.depends_on)}" if self.depends_on else ""
        return f"{self.file} {','.join(self.down) or NOTHING}{depends_on} {self.checksum}"

    @classmethod
    def parse(cls, text: str) -> Entry:
        """Return the entry of such a line."""
        file, builds_on, checksum = text.split(" ")
        down, _, depends_on = builds_on.partition("+")
        return cls(
            file,
            tuple(down.split(",")) if down != NOTHING else (),
            tuple(depends_on.split(",")) if depends_on else (),
            checksum,
        )


@dataclass(frozen=True)
class Manifest:
    """The manifest of a directory.

    Attributes:
        entries: of an unbroken chain. A line that was changed, moved, added or removed by hand breaks it.
        exists: whether there is a file.
        defect: why the file is not usable. Then there are no entries. Empty otherwise.

    """

    path: Path
    entries: tuple[Entry, ...] = ()
    exists: bool = True
    defect: str = ""

    @classmethod
    def load(cls, directory: Path) -> Manifest:
        """Read the manifest of the scripts in `directory`. An unusable file raises nothing, and sets `defect`."""
        path = directory / FILE
        try:
            text = path.read_text()
        except FileNotFoundError:
            return cls(path, exists=False)
        except (OSError, UnicodeDecodeError) as error:
            return cls(path, defect=f"it is not readable: {error}")
        try:
            return cls(path, tuple(_entries(text.removesuffix("\n").split("\n"))))
        except _Broken as broken:
            return cls(path, defect=str(broken))

    @property
    def warning(self) -> str:
        """The consequence of a missing manifest, and the command that writes it. Empty if there is one."""
        problem = f"there is no {self.path}, so an edit of a script is not noticed before the script is applied"
        return "" if self.exists else f"{problem}. {WRITE}"

    def differences(self, scripts: Sequence[Entry]) -> list[str]:
        """Return the differences from these `scripts`, one line each. Empty if they match or there is no manifest."""
        if not self.exists:
            return []
        if self.defect:
            return [self.defect]
        if self.entries == tuple(scripts):
            return []
        differences = [_DIFFERS[kind].format(*files) for kind, *files in _differences(self.entries, scripts)]
        return differences or ["its lines are not in the order of the revisions"]

    def changes(self, scripts: Sequence[Entry]) -> list[str]:
        """Return what `write` of these `scripts` has changed, one line each."""
        if not self.exists or self.entries == tuple(scripts):
            return []
        if self.defect:
            return [f"replaced a manifest that was not usable: {self.defect}"]
        changes = [_CHANGED[kind].format(*files) for kind, *files in _differences(self.entries, scripts)]
        return changes or ["put its lines in the order of the revisions"]

    def write(self, scripts: Iterable[Entry]) -> None:
        """Replace the file atomically by a manifest of these `scripts`, each after all that it builds on."""
        temporary = self.path.with_name(f".{FILE}.{os.getpid()}")
        temporary.write_text("\n".join([HEADER, *_lines(scripts)]) + "\n", newline="\n")
        temporary.replace(self.path)


class _Broken(Exception):
    """The text is not a manifest. The message says why."""


def _lines(entries: Iterable[Entry]) -> Iterator[str]:
    chain = HEADER
    for entry in entries:
        chain = _link(chain, str(entry))
        yield f"{entry} {chain}"


def _link(previous: str, content: str) -> str:
    return hashlib.sha256(f"{previous}\n{content}".encode()).hexdigest()


def _entries(lines: list[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, 1):
        if line.startswith(CONFLICT):
            raise _Broken(f"line {number} is a conflict marker of git: two branches each added a revision")
    if lines[:1] != [HEADER]:
        raise _Broken("its first line is not the one that this version of pulumi-alembic writes")
    chain = HEADER
    for number, line in enumerate(lines[1:], 2):
        content, _, checksum = line.rpartition(" ")
        chain = _link(chain, content)
        if checksum != chain:
            raise _Broken(f"line {number} breaks its chain: a line was changed, moved, added or removed by hand")
        yield Entry.parse(content)


def _differences(listed: Sequence[Entry], scripts: Sequence[Entry]) -> Iterator[tuple[str, ...]]:
    """Yield each difference as its kind and the file's name. A renamed file has its new name too."""
    before = {entry.file: entry for entry in listed}
    now = {entry.file: entry for entry in scripts}
    added = {entry.checksum: entry.file for entry in scripts if entry.file not in before}
    for file, entry in before.items():
        if file not in now:
            renamed = added.pop(entry.checksum, None)
            yield ("renamed", file, renamed) if renamed else ("removed", file)
        elif now[file] != entry:
            yield ("edited", file)
    yield from (("added", file) for file in sorted(added.values()))


_DIFFERS = {
    "renamed": "{} is now named {}",
    "removed": "{} is gone",
    "edited": "{} was edited",
    "added": "{} is not in it yet",
}
_CHANGED = {"renamed": "renamed {} to {}", "removed": "removed {}", "edited": "updated {}", "added": "added {}"}
