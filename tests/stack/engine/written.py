"""A check that the written state matches the resources, although the text of an unchanged resource is reused."""

from __future__ import annotations

import json
from typing import Any

from pulumi_embedded.storage.checkpoint import Codec, Snapshot, encoded

__all__ = ["check_states"]

_deployment = Codec.deployment


def check_states() -> None:
    """Compare each state that this process writes with one that is built from scratch."""
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
