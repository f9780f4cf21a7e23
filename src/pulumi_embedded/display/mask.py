"""Mask secrets of the configuration in all output, as the Pulumi CLI does (3.260)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from pulumi_embedded.model.values import ConfigValue

__all__ = ["masked"]

# Masking texts that are short or common would mask too much of the output.
_HARMLESS = {"true", "false"}
_SHORTEST = 2


def masked(values: Iterable[ConfigValue]) -> Callable[[str], str]:
    """Return a function that replaces every secret value in a text by `[secret]`."""
    secrets = {secret for value in values for secret in value.secrets}
    secrets_to_mask = sorted(
        (secret for secret in secrets if len(secret) > _SHORTEST and secret not in _HARMLESS), key=len, reverse=True
    )
    if not secrets_to_mask:
        return str
    pattern = re.compile("|".join(map(re.escape, secrets_to_mask)))
    return lambda text: pattern.sub("[secret]", text)
