"""Baselines: SQL files that build what a revision and all revisions before it build. Pure, except for the files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.scripts.manifest import Entry
from pulumi_alembic.scripts.revision import Revision, checksum

__all__ = ["COMMAND", "FOLDER", "Baseline", "digest", "load"]

COMMAND = "pulumi-alembic baseline"
"""The command that writes a baseline, followed by a revision."""

FOLDER = "baselines"
"""The directory of baselines, beside `versions`."""

_FIRST_LINE = "-- pulumi-alembic baseline 1 of {revision}, in place of scripts with the digest {digest}\n"
_HEADER = re.compile(re.escape(_FIRST_LINE).replace(r"\{revision\}", r"(\S+)").replace(r"\{digest\}", r"(\S+)"))


@dataclass(frozen=True)
class Baseline:
    """A SQL file that builds what `revision` and all that it builds on build.

    Attributes:
        checksum: of the file's text.
        scripts: the digest of the revisions that it covers.

    """

    revision: str
    path: Path
    text: str
    checksum: str
    scripts: str

    @classmethod
    def of(cls, directory: Path, revisions: Sequence[Revision], statements: str) -> Baseline:
        """Return the baseline of the last of these revisions, which builds on all others. It is not written yet."""
        revision, scripts = revisions[-1].id, digest(revisions)
        text = _FIRST_LINE.format(revision=revision, digest=scripts) + statements
        return cls(revision, directory / FOLDER / f"{revision}.sql", text, checksum(text), scripts)

    @classmethod
    def read(cls, path: Path) -> Baseline:
        """Read the file. Raises HistoryError unless `write` wrote it for the revision in its name."""
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise HistoryError(f"{path} is not readable: {error}") from None
        header = _HEADER.match(text)
        if header is None or header[1] != path.stem:
            raise HistoryError(
                f"{path} is no baseline of {path.stem}. Delete the file, then write it again:\n  {COMMAND} {path.stem}"
            )
        return cls(path.stem, path, text, checksum(text), header[2])

    def write(self) -> None:
        """Write the file, or replace it atomically."""
        self.path.parent.mkdir(exist_ok=True)
        temporary = self.path.with_suffix(f".{os.getpid()}")
        temporary.write_text(self.text, newline="\n")
        temporary.replace(self.path)

    @property
    def entry(self) -> Entry:
        """Its line in the manifest."""
        return Entry(f"{FOLDER}/{self.path.name}", (self.revision,), (), self.checksum)


def load(directory: Path) -> dict[str, Baseline]:
    """Return the baselines in `directory` by revision id. Raises HistoryError as `Baseline.read` does."""
    files = sorted((directory / FOLDER).glob("*.sql"))
    return {file.stem: Baseline.read(file) for file in files}


def digest(revisions: Iterable[Revision]) -> str:
    """Return a digest of the ids and texts of these scripts, in any order."""
    lines = sorted(f"{revision.id} {revision.checksum}" for revision in revisions)
    return "v1:" + hashlib.sha256("\n".join(lines).encode()).hexdigest()
