"""A stack's state file: its outputs without a command, and a state that is moved to another port."""

from __future__ import annotations

import json
import re
from typing import Any

from pulumi_embedded.storage.secrets import Crypter

_SALT = re.compile(r'(?:"salt": ?"|encryptionsalt: )(v1:[^"\s]+)')
_SECRET = re.compile(r"v1:[A-Za-z0-9+/]{16}:[A-Za-z0-9+/=]+")


def outputs_of(state: str, passphrase: str) -> dict[str, Any]:
    """Return the outputs of the stack with this state, including secrets."""
    latest = json.loads(state)["checkpoint"].get("latest") or {}
    roots = [each for each in latest.get("resources", []) if each["type"] == "pulumi:pulumi:Stack"]
    outputs: dict[str, Any] = roots[0].get("outputs", {}) if roots else {}

    def opened(value: Any) -> Any:
        if not isinstance(value, dict) or "ciphertext" not in value:
            return value
        crypter = Crypter.open(latest["secrets_providers"]["state"]["salt"], passphrase)
        return json.loads(crypter.decrypt(value["ciphertext"]))

    return {name: opened(value) for name, value in outputs.items()}


def moved(text: str, passphrase: str, old: int, new: int) -> str:
    """Return a state or a configuration for a server at another port, in its plain text and its secrets."""
    [salt] = set(_SALT.findall(text))
    crypter = Crypter.open(salt, passphrase)

    def secret(found: re.Match[str]) -> str:
        if found[0] in salt:
            return found[0]
        value = crypter.decrypt(found[0])
        changed = value.replace(f":{old}/", f":{new}/")
        return found[0] if changed == value else crypter.encrypt(changed)

    return re.sub(rf"\b{old}\b", str(new), _SECRET.sub(secret, text))
