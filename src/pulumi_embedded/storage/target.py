"""The stack that an operation works on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.values import ConfigValue, Properties
from pulumi_embedded.storage.workspace import Project

__all__ = ["Target"]


def _no_stack(name: str) -> tuple[Properties, bool]:
    raise EngineError(f'unknown stack "{name}"')


@dataclass(frozen=True)
class Target:
    """The stack of an operation, with its decrypted configuration."""

    project: Project
    stack: str
    config: Mapping[str, ConfigValue]
    # Returns the outputs of another stack by the name in a program, and whether they are complete.
    outputs_of: Callable[[str], tuple[Properties, bool]] = _no_stack
