"""A mask for secrets of the configuration: they never reach the terminal (as in the Pulumi CLI, 3.260)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pulumi_embedded.model.values import ConfigValue

__all__ = ["masked"]

# Too short or too common to hide without hiding half the output.
_HARMLESS = {"true", "false"}
_SHORTEST = 2


def masked(values: Iterable[ConfigValue]) -> Callable[[str], str]:
    """A function that replaces every secret value in a text by `[secret]`."""
    secrets = {secret for value in values for secret in value.secrets}
    secrets_to_mask = sorted(
        (secret for secret in secrets if len(secret) > _SHORTEST and secret not in _HARMLESS), key=len, reverse=True
    )
    if not secrets_to_mask:
        return str
    pattern = re.compile("|".join(map(re.escape, secrets_to_mask)))
    return lambda text: pattern.sub("[secret]", text)
