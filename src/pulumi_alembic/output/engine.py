"""The name of the engine's program, for command lines in messages."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

__all__ = ["engine", "path"]

_CLI, _EMBEDDED = "pulumi", "pulumi-embedded"


def engine() -> str:
    """Return the name of the engine that runs this process, otherwise of the one that is installed.

    An engine sets PULUMI_COMMAND for its programs and plugins, except for Pulumi's own CLI.
    """
    return os.environ.get("PULUMI_COMMAND") or Path(path()).name


def path() -> str:
    """Return the path of Pulumi's CLI, or of the embedded engine beside this interpreter if there is no CLI."""
    embedded = Path(sys.executable).with_name(_EMBEDDED)
    return shutil.which(_CLI) or (str(embedded) if embedded.exists() else _CLI)
