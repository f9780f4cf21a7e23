"""What of a stack's database may differ from what its last update left: `taskdb:drift_ignore`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from pulumi_alembic.drift.difference.ignored import patterns
from pulumi_alembic.errors import PolicyError
from taskdb.errors import TaskdbError

__all__ = ["drift_ignore_of"]

_KEY = "taskdb:drift_ignore"


def drift_ignore_of(values: Mapping[str, str], command: Callable[[str, str], str]) -> tuple[str, ...]:
    """The patterns: a list in the stack's file, or a text in which commas divide them.

    `command` writes a command of the engine. Raises TaskdbError, with the command that mends it, for what is invalid.
    """
    text = values.get(_KEY, "").strip()
    example = command("config set --path", f"'{_KEY}[0]' 'table app.tmp_*'")
    try:
        given = json.loads(text) if text.startswith("[") else [each for each in text.split(",") if each.strip()]
        return patterns(given)
    except PolicyError as error:
        raise TaskdbError(f"taskdb:{error}. Set it as in: {example}") from None
    except ValueError:
        raise TaskdbError(f"{_KEY} is {text[:80]!r}: it is a list of patterns. Set it as in: {example}") from None
