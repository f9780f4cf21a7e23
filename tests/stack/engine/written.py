"""What an operation writes is what its resources are, though the text of an unchanged resource is not made again."""

from __future__ import annotations

import json
from typing import Any

from pulumi_embedded.storage.checkpoint import Codec, Snapshot, encoded

__all__ = ["check_states"]

_deployment = Codec.deployment


def check_states() -> None:
    """Let each state that this process writes be compared with one that is made from nothing."""
    Codec.deployment = _checked  # type: ignore[method-assign]


def _checked(codec: Codec, snapshot: Snapshot) -> dict[str, Any]:
    document = _deployment(codec, snapshot)
    written = {key: document.get(key, []) for key in ("resources", "pending_operations")}
    present = {
        "resources": [resource.to_json(codec.seal) for resource in snapshot.resources],
        "pending_operations": [
            {"resource": operation.resource.to_json(codec.seal), "type": operation.type}
            for operation in snapshot.pending_operations
        ],
    }
    assert encoded(written) == json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode()
    return document
