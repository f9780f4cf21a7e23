"""A check that the written state matches the resources, although the text of an unchanged resource is reused."""

from __future__ import annotations

import json
from operator import is_
from typing import Any

from pulumi_embedded.storage.checkpoint import Codec, Snapshot, encoded

__all__ = ["check_states"]

_deployment = Codec.deployment


def check_states() -> None:
    """Compare each state that this process writes with one that is built from scratch."""
    Codec.deployment = _checked  # type: ignore[method-assign]


def _checked(codec: Codec, snapshot: Snapshot) -> dict[str, Any]:
    before = _values(snapshot)
    document = _deployment(codec, snapshot)
    written = {key: document.get(key, []) for key in ("resources", "pending_operations")}
    present = {
        "resources": [resource.to_json(codec.seal) for resource in snapshot.resources],
        "pending_operations": [
            {"resource": operation.resource.to_json(codec.seal), "type": operation.type}
            for operation in snapshot.pending_operations
        ],
    }
    # A step of another thread can set a field of its resource meanwhile. The write after it is compared.
    after = _values(snapshot)
    if len(before) == len(after) and all(map(is_, before, after)):
        assert encoded(written) == json.dumps(present, separators=(",", ":"), ensure_ascii=False).encode()
    return document


def _values(snapshot: Snapshot) -> list[Any]:
    resources = [*snapshot.resources, *(operation.resource for operation in snapshot.pending_operations)]
    return [value for resource in resources for value in vars(resource).values()]
