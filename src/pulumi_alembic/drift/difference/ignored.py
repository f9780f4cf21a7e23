"""Items that a comparison leaves out: those of other resources, and those that match patterns. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from pulumi_alembic.drift.difference.snapshot import Item, Key
from pulumi_alembic.errors import PolicyError

__all__ = ["KINDS", "ignored", "is_infrastructure", "patterns"]

KINDS = (
    "aggregate", "column", "comment", "constraint", "database", "default privileges", "domain", "extension",
    "foreign table", "function", "index", "materialized view", "membership", "owner", "policy", "privileges",
    "procedure", "role", "rule", "schema", "sequence", "setting", "table", "trigger", "type", "view",
)  # fmt: skip


def patterns(given: Sequence[object]) -> tuple[str, ...]:
    """Return the normalized patterns. Raises PolicyError if one is invalid."""
    if isinstance(given, str):
        raise PolicyError(f"drift_ignore must be a list of patterns (such as 'table app.tmp_*'), not {given!r}")
    return tuple(_pattern(text) for text in given)


def ignored(item: Item, parent: Key | None, given: Sequence[str]) -> bool:
    """Return whether a pattern matches this item or its parent."""
    names = [str(item), *([" ".join(parent)] if parent else [])]
    return any(fnmatchcase(name, pattern) for name in names for pattern in given)


def _pattern(given: object) -> str:
    text = " ".join(given.split()) if isinstance(given, str) else ""
    kind = next((kind for kind in (*KINDS, "*") if text.startswith(f"{kind} ")), None)
    if kind is None:
        raise PolicyError(
            f"drift_ignore has {given!r}: a pattern is a kind and a name in which * stands for anything, such as "
            f"'table app.tmp_*'. Kinds: {', '.join(KINDS)}, or *"
        )
    return text


def is_infrastructure(item: Item) -> bool:
    """Return whether the item is created before revisions run, and not by them."""
    if item.kind in ("owner", "privileges"):
        return item.facts["kind"] in ("database", "schema")
    return item.kind in ("role", "membership", "setting", "database", "schema", "extension", "default privileges")
