"""The JSON documents that commands print. `schemas/COMMAND.schema.json` in this package describes each."""

from __future__ import annotations

from typing import Any

from pulumi_alembic.output.printable import json_text

__all__ = ["VERSION", "print_document"]

VERSION = 1
"""The version of the documents. It changes if a key is removed or changes its meaning. Readers accept new keys."""


def print_document(**values: Any) -> None:
    """Print one JSON object with its version."""
    print(json_text({"version": VERSION, **values}))
