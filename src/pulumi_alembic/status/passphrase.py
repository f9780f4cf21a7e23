"""Decrypt the secrets of a state with the passphrase of its stack.

The format is that of Pulumi's passphrase provider (CLI 3.260): AES-256-GCM with the key PBKDF2-HMAC-SHA256 of the
passphrase in 1,000,000 rounds. Values are `v1:NONCE:CIPHERTEXT`, and the salt ends in an encrypted "pulumi".
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

__all__ = ["decrypter", "variable"]

_ROUNDS = 1_000_000
_PROOF = "pulumi"


def variable(stack: str) -> str:
    """Return the variable with the passphrase of one stack: PULUMI_CONFIG_PASSPHRASE_PROD of `prod`."""
    name = "".join(character if character.isalnum() else "_" for character in stack.upper())
    return f"PULUMI_CONFIG_PASSPHRASE_{name}"


def decrypter(stack: str, salt: str) -> Callable[[str], str] | None:
    """Return a function that decrypts the secrets of a stack. None if no passphrase in the environment fits.

    It tries the stack's own variable, then PULUMI_CONFIG_PASSPHRASE, each also with `_FILE` and the name of a file.
    Last is the empty passphrase of development stacks. Each attempt takes about 0.3 s, during which other threads run.

    Args:
        stack: The name of the stack.
        salt: The salt in the state.

    """
    try:
        _, encoded, proof = salt.split(":", 2)
        raw = base64.b64decode(encoded, validate=True)
    except ValueError:
        return None
    for passphrase in dict.fromkeys(_candidates(stack)):
        cipher = AESGCM(PBKDF2HMAC(SHA256(), 32, raw, _ROUNDS).derive(passphrase.encode()))

        def decrypt(value: str, cipher: AESGCM = cipher) -> str:
            _, nonce, text = value.split(":")
            return cipher.decrypt(base64.b64decode(nonce), base64.b64decode(text), None).decode()

        try:
            if decrypt(proof) == _PROOF:
                return decrypt
        except (InvalidTag, ValueError):
            continue
    return None


def _candidates(stack: str) -> Iterator[str]:
    for name in (variable(stack), "PULUMI_CONFIG_PASSPHRASE"):
        if (passphrase := os.environ.get(name)) is not None:
            yield passphrase
        elif path := os.environ.get(f"{name}_FILE"):
            with suppress(OSError, ValueError):
                yield Path(path).read_text(encoding="utf-8").strip()
    yield ""
