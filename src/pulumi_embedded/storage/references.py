"""Read the outputs of another stack of the same backend, for StackReference."""

from __future__ import annotations

import json
from typing import Any

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.urns import STACK_TYPE
from pulumi_embedded.model.values import SECRET_SIGNATURE, SIGNATURE, Properties
from pulumi_embedded.storage.backend import ORGANIZATION, FileBackend
from pulumi_embedded.storage.checkpoint import Codec
from pulumi_embedded.storage.secrets import Crypter, passphrase_from_environment

__all__ = ["stack_outputs"]


def stack_outputs(backend: FileBackend, project: str, reference: str) -> tuple[Properties, bool]:
    """Return the outputs of another stack, and whether they are complete.

    Without the stack's passphrase its secrets are empty objects, as with the Pulumi CLI (3.260).

    Args:
        backend: The backend.
        project: The project of a reference without one.
        reference: `NAME`, `organization/NAME` or `organization/PROJECT/NAME`.

    Raises:
        EngineError: There is no such stack.

    """
    *places, name = reference.split("/")
    if places and places[0] != ORGANIZATION:
        raise EngineError("organization name must be 'organization'")
    if len(places) == 2:
        project = places[1]
    if len(places) > 2 or not backend.exists(project, name):
        raise EngineError(f'unknown stack "{reference}"')
    document = backend.look(project, name) or {}
    roots = [resource for resource in document.get("resources") or [] if resource.get("type") == STACK_TYPE]
    salt = ((document.get("secrets_providers") or {}).get("state") or {}).get("salt")
    crypter, whole = None, True
    if salt and SECRET_SIGNATURE in json.dumps(roots):
        passphrase = passphrase_from_environment()
        try:
            crypter = Crypter.open(salt, passphrase)
        except EngineError:
            roots, whole = _without_secrets(roots), False
    opened = Codec(crypter).snapshot({**document, "resources": roots, "pending_operations": []}).resources
    return opened[0].outputs if opened else {}, whole


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(element) for element in value]
    if not isinstance(value, dict):
        return value
    if value.get(SIGNATURE) == SECRET_SIGNATURE:
        return {SIGNATURE: SECRET_SIGNATURE, "plaintext": "{}"}
    return {key: _without_secrets(element) for key, element in value.items()}
