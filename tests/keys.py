"""Keys of passphrases that a test run derives once, because each takes longer than most commands."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from pulumi_alembic.status import passphrase
from pulumi_embedded.storage import secrets

MODULES: tuple[Any, ...] = (secrets, passphrase)
"""The modules that derive keys, with PBKDF2HMAC."""


def remembered(folder: Path) -> type:
    """Return a substitute for PBKDF2HMAC that stores each key in the folder."""

    class Remembered:
        def __init__(self, algorithm: Any, length: int, salt: bytes, rounds: int) -> None:
            self._derivation = PBKDF2HMAC(algorithm, length, salt, rounds)
            self._form = f"{algorithm.name} {length} {salt.hex()} {rounds} "

        def derive(self, words: bytes) -> bytes:
            file = folder / f"key-{hashlib.sha256(self._form.encode() + words).hexdigest()}"
            if not file.exists():
                new = file.with_name(f"{file.name}-{os.getpid()}")
                new.touch(mode=0o600)
                new.write_bytes(self._derivation.derive(words))
                new.rename(file)
            return file.read_bytes()

    return Remembered
