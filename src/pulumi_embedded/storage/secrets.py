"""The passphrase secrets provider, whose values the Pulumi CLI reads and writes too.

Values are encrypted with AES-256-GCM. The key is PBKDF2-HMAC-SHA256 of the passphrase with 1,000,000 rounds
(Pulumi CLI 3.260: `v1:NONCE:CIPHERTEXT`, the salt as `v1:SALT:` and an encrypted "pulumi" that proves the key).
"""

from __future__ import annotations

import base64
import os
from functools import cache
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from pulumi_embedded.errors import EngineError

__all__ = ["Crypter", "passphrase_from_environment"]

_ROUNDS: Final = 1_000_000
_PROOF: Final = "pulumi"


def passphrase_from_environment() -> str:
    """Return PULUMI_CONFIG_PASSPHRASE, or the content of the file in PULUMI_CONFIG_PASSPHRASE_FILE.

    Raises:
        EngineError: Neither is set, or the file cannot be read.

    """
    passphrase = os.environ.get("PULUMI_CONFIG_PASSPHRASE")
    if passphrase is not None:
        return passphrase
    path = os.environ.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    if path is None:
        raise EngineError(
            "passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE "
            "environment variables (an empty PULUMI_CONFIG_PASSPHRASE is a valid passphrase)"
        )
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise EngineError(f"unable to read PULUMI_CONFIG_PASSPHRASE_FILE: {error}") from None


class Crypter:
    """Encrypts and decrypts with one passphrase and one salt. It exists only if the passphrase is right."""

    def __init__(self, key: bytes, salt_state: str) -> None:
        self._cipher = AESGCM(key)
        self.salt_state = salt_state

    @classmethod
    def open(cls, salt_state: str, passphrase: str) -> Crypter:
        """Return the crypter of an existing `encryptionsalt`. Raises EngineError if the passphrase is wrong."""
        try:
            version, salt, proof = salt_state.split(":", 2)
            crypter = cls(_derive(passphrase, base64.b64decode(salt, validate=True)), salt_state)
        except ValueError:
            raise EngineError("the encryption salt is damaged: it must read v1:SALT:v1:NONCE:TEXT") from None
        if version != "v1":
            raise EngineError(f"the encryption salt has the unknown version {version!r}")
        try:
            proven = crypter.decrypt(proof) == _PROOF
        except EngineError:
            proven = False
        if not proven:
            raise EngineError(
                "incorrect passphrase; set PULUMI_CONFIG_PASSPHRASE (or PULUMI_CONFIG_PASSPHRASE_FILE) to the "
                "passphrase that this stack was made with"
            )
        return crypter

    @classmethod
    def create(cls, passphrase: str) -> Crypter:
        """Return a crypter with a new random salt."""
        salt = os.urandom(8)
        crypter = cls(_derive(passphrase, salt), "")
        crypter.salt_state = f"v1:{base64.b64encode(salt).decode()}:{crypter.encrypt(_PROOF)}"
        return crypter

    def encrypt(self, text: str) -> str:
        """Return the encrypted text as `v1:NONCE:CIPHERTEXT`, which differs at every call."""
        nonce = os.urandom(12)
        sealed = self._cipher.encrypt(nonce, text.encode(), None)
        return f"v1:{base64.b64encode(nonce).decode()}:{base64.b64encode(sealed).decode()}"

    def decrypt(self, sealed: str) -> str:
        """Return the text of a `v1:NONCE:CIPHERTEXT`. Raises EngineError if another key encrypted it."""
        try:
            version, nonce, text = sealed.split(":")
            if version != "v1":
                raise ValueError
            opened = self._cipher.decrypt(base64.b64decode(nonce), base64.b64decode(text), None)
        except (ValueError, InvalidTag):
            raise EngineError("a secret cannot be decrypted with this stack's passphrase") from None
        return opened.decode()


@cache
def _derive(passphrase: str, salt: bytes) -> bytes:
    # It takes half the time of hashlib's.
    return PBKDF2HMAC(SHA256(), 32, salt, _ROUNDS).derive(passphrase.encode())
