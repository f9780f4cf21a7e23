"""The backup directory: complete backups with their manifests. An incomplete backup is not listed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pulumi_alembic.errors import BackupError

__all__ = ["DUMP", "Backup", "close_to_others", "complete", "describe", "in_folder", "load", "making", "size_text"]

MANIFEST = "manifest.json"
DUMP = "dump"
_PARTIAL = ".partial"
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Backup:
    """The manifest of a backup.

    Attributes:
        when: the time at which it was taken, in ISO 8601.
        database: `HOST:PORT/NAME`, for people.
        identity: unique for each database, as in `Content`.
        heads: of the database.
        ledger: the id of the last row of its ledger.
        server: server_version_num.
        client: the version of pg_dump.
        size: bytes of all files.
        files: digests of the dump's files.
        fingerprint: empty for a backup from before it was recorded.

    """

    id: str
    when: str
    database: str
    identity: str
    schemas: list[str]
    heads: list[str]
    ledger: int
    server: int
    client: str
    size: int
    files: dict[str, str]
    fingerprint: str = ""

    def text(self) -> str:
        """Return the text of the manifest."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"

    @property
    def checksum(self) -> str:
        """A digest of the manifest, and so of all files that it lists: `v1:` and the SHA-256."""
        return "v1:" + hashlib.sha256(self.text().encode()).hexdigest()

    def verify(self, folder: Path, tell: Callable[[str], None] = lambda text: None) -> None:
        """Compare every file of the backup in `folder` with its digest.

        Raises BackupError if one differs, is missing or is extra.
        """
        files = {path.name for path in (folder / self.id / DUMP).glob("*")}
        tell(f"reading {len(self.files)} files of {size_text(self.size)}")
        for name, digest in sorted(self.files.items()):
            try:
                differs = name not in files or _digest(folder / self.id / DUMP / name) != digest
            except OSError as error:
                raise BackupError(f"backup {self.id}: {name} cannot be read: {error.strerror}") from None
            if differs:
                raise BackupError(
                    f"backup {self.id} in {folder} is damaged: {name} is {'another' if name in files else 'missing'}. "
                    "It is not to be restored from; take another one: pulumi-alembic backups"
                )
        if strange := sorted(files - self.files.keys()):
            raise BackupError(f"backup {self.id} in {folder} is damaged: {strange[0]} is not one of its files")


def load(folder: Path, id: str) -> Backup:
    """Read the manifest of a backup, without verifying files. Raises BackupError if there is no such backup."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", id):
        raise BackupError(f"{id!r} is not the id of a backup. See which there are: pulumi-alembic backups")
    try:
        document = json.loads((folder / id / MANIFEST).read_text())
    except FileNotFoundError:
        raise BackupError(f"there is no backup {id} in {folder}. See which there are: pulumi-alembic backups") from None
    except (OSError, ValueError) as error:
        raise BackupError(f"backup {id} in {folder}: its {MANIFEST} cannot be read: {error}") from None
    names = {field.name for field in fields(Backup)}
    if not isinstance(document, dict) or document.keys() - names or names - {"fingerprint"} - document.keys():
        raise BackupError(f"backup {id} in {folder}: its {MANIFEST} is not one that this version writes")
    return Backup(**document)


def in_folder(folder: Path) -> list[Backup | BackupError]:
    """Return the complete backups, newest first, with an error in place of one whose manifest is invalid."""
    try:
        names = [path.name for path in folder.iterdir() if (path / MANIFEST).exists() and path.name[:1] != "."]
    except OSError as error:
        raise BackupError(f"the backup directory {folder} cannot be read: {error.strerror}") from None

    def loaded(name: str) -> Backup | BackupError:
        try:
            return load(folder, name)
        except BackupError as error:
            return error

    backups = [loaded(name) for name in sorted(names)]
    return sorted(backups, key=lambda backup: backup.when if isinstance(backup, Backup) else "", reverse=True)


def close_to_others(folder: Path) -> int:
    """Make the backups readable only by this user, as new ones are. Return how many files had other modes."""
    opened = 0
    for manifest in folder.glob(f"*/{MANIFEST}"):
        backup = manifest.parent
        for path in (backup, manifest, backup / DUMP, *(backup / DUMP).glob("*")):
            with suppress(OSError):
                if path.stat().st_mode & 0o077:
                    path.chmod(0o700 if path.is_dir() else 0o600)
                    opened += 1
    return opened


@contextmanager
def making(folder: Path, id: str, identity: str) -> Iterator[Path]:
    """Create a directory with a temporary name, which `complete` turns into the backup `id`.

    Otherwise it is removed.

    Leftovers of killed runs for the same database are removed first, because no other run backs it up now.

    Args:
        folder: the backup directory.
        id: of the new backup.
        identity: of the database.

    Raises:
        BackupError: the backup directory cannot be written.

    """
    tag = hashlib.sha256(identity.encode()).hexdigest()[:12]
    partial = folder / f".{id}.{tag}{_PARTIAL}"
    try:
        for missing in reversed([directory for directory in (folder, *folder.parents) if not directory.exists()]):
            missing.mkdir(mode=0o700)
        for leftover in folder.glob(f".*.{tag}*{_PARTIAL}"):
            _remove(leftover)
        partial.mkdir(mode=0o700)
    except OSError as error:
        raise BackupError(
            f"the backup directory {folder} cannot be written: {error.strerror}. Nothing was changed: let it be "
            "written, or name another (backup_folder)"
        ) from None
    try:
        yield partial
    except OSError as error:
        raise BackupError(
            f"the backup in {folder} could not be written: {error.strerror}. Nothing was changed: see what is left on "
            "its disk, then try again"
        ) from None
    finally:
        if partial.exists():
            _remove(partial)


def describe(partial: Path) -> dict[str, Any]:
    """Return `size` and `files` of the dump in this directory."""
    files = sorted((partial / DUMP).iterdir())
    return {"size": sum(file.stat().st_size for file in files), "files": {file.name: _digest(file) for file in files}}


def complete(partial: Path, folder: Path, backup: Backup) -> None:
    """Write the manifest, and move the backup to its place. Both survive a power failure."""
    path = partial / MANIFEST
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(backup.text())
        file.flush()
        os.fsync(file.fileno())
    _sync(partial)
    partial.rename(folder / backup.id)
    _sync(folder)


def size_text(size: float) -> str:
    """Return a text such as `12.3 MB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    """Rename the directory and remove it.

    A pg_dump that outlived its parent process no longer finds its files by path.
    """
    renamed = path.with_name(path.name.removesuffix(_PARTIAL) + f".{secrets.token_hex(4)}{_PARTIAL}")
    with suppress(FileNotFoundError):
        path.rename(renamed)
        shutil.rmtree(renamed, ignore_errors=True)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
