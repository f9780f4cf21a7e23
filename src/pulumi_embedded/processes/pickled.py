"""Find the modules that a state's dynamic providers need, without running their code."""

from __future__ import annotations

import base64
import io
import pickle
from collections.abc import Iterable
from contextlib import suppress

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.values import unwrap

__all__ = ["modules_of"]

# The input in which the SDK (3.272) stores a resource's provider, pickled and in base64.
_PROVIDER = "__provider"


def modules_of(resources: Iterable[ResourceState]) -> list[str]:
    """Return the modules that the resources' providers name, in the order of the resources, each once."""
    pickles = dict.fromkeys(
        unwrap(resource.inputs.get(_PROVIDER)) for resource in resources if _PROVIDER in resource.inputs
    )
    names = dict.fromkeys(name for text in pickles if isinstance(text, str) for name in _named(text))
    return [name for name in names if all(part.isidentifier() for part in name.split("."))]


def _named(provider: str) -> list[str]:
    names: list[str] = []

    class Names(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            names.append(module)
            return type(name, (), {})

    # A provider that is pickled by value cannot be loaded here. Only the names read before the error are needed.
    with suppress(Exception):
        Names(io.BytesIO(base64.b64decode(provider))).load()
    return names
