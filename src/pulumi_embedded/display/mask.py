"""Secrets of the configuration never reach the terminal, whoever prints them (as in the Pulumi CLI, 3.260)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pulumi_embedded.storage.config import ConfigValue

__all__ = ["masked"]

# Too short or too common to hide without hiding half the output.
_HARMLESS = {"true", "false"}
_SHORTEST = 2


def masked(values: Iterable[ConfigValue]) -> Callable[[str], str]:
    """A function that puts `[secret]` in place of every secret value in a text."""
    secrets = {
        value.text for value in values if value.secret and len(value.text) > _SHORTEST and value.text not in _HARMLESS
    }

    def mask(text: str) -> str:
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "[secret]")
        return text

    return mask
