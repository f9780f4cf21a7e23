"""What the dynamic providers of a state are made of, told without running anything of them."""

from __future__ import annotations

import base64
import io
import pickle
from collections.abc import Iterable
from contextlib import suppress

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.values import unwrap

__all__ = ["modules_of"]

# Where the SDK (3.272) keeps a resource's provider: pickled, in base64.
_PROVIDER = "__provider"


def modules_of(resources: Iterable[ResourceState]) -> list[str]:
    """The modules that the resources' providers name, in the order of the resources; none twice."""
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

    # A provider that is pickled by value cannot be put together here. What it names until then is all that is wanted.
    with suppress(Exception):
        Names(io.BytesIO(base64.b64decode(provider))).load()
    return names
