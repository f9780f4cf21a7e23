"""What squawk says of statements: one process for all of them, whatever the project's folder configures."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.lint.rules import SQUAWK

__all__ = ["Objection", "objections"]

_LONGEST = 60  # seconds


@dataclass(frozen=True)
class Objection:
    """One of SQUAWK's rules, with squawk's own words."""

    rule: str
    message: str
    help: str


def objections(statements: Iterable[str]) -> dict[str, tuple[Objection, ...]]:
    """For each text squawk's objections, each rule once. Raises MigrationError where squawk cannot be run."""
    texts = list(dict.fromkeys(statements))
    if not texts:
        return {}
    with TemporaryDirectory(prefix="pulumi-alembic-lint-") as place:
        folder = Path(place)
        (folder / "squawk.toml").touch()
        for number, text in enumerate(texts):
            # An excuse has a reason: squawk's own marks, which have none, are no excuse.
            (folder / f"{number}.sql").write_text(text.replace("squawk-ignore", "squawk_ignore"))
        # The folder, not its files: a command line has an end.
        found = _run(folder)
    by_text: dict[str, dict[str, Objection]] = {text: {} for text in texts}
    for each in found:
        if each["rule_name"] in SQUAWK:
            objection = Objection(each["rule_name"], each["message"], each["help"] or "")
            by_text[texts[int(Path(each["file"]).stem)]].setdefault(objection.rule, objection)
    return {text: tuple(rules.values()) for text, rules in by_text.items()}


def _run(folder: Path) -> list[dict[str, Any]]:
    program = Path(sysconfig.get_path("scripts")) / ("squawk.exe" if sys.platform == "win32" else "squawk")
    command = [str(program), "--config", "squawk.toml", "--reporter", "json", "--assume-in-transaction", "*.sql"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_LONGEST, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise MigrationError(
            f"squawk, which lints statements, does not run: {error}. Install it again: "
            f"{sys.executable} -m pip install --force-reinstall squawk-cli"
        ) from None
    return found
