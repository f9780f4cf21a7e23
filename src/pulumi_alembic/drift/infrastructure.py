"""Which items are what a stack makes of other resources: roles, the database, schemas, extensions and rights. Pure."""

from __future__ import annotations

from pulumi_alembic.drift.snapshot import Item

__all__ = ["is_infrastructure"]


def is_infrastructure(item: Item) -> bool:
    """Whether it is made before revisions run, and not by them."""
    if item.kind in ("owner", "privileges"):
        return item.facts["kind"] in ("database", "schema")
    return item.kind in ("role", "membership", "setting", "database", "schema", "extension", "default privileges")
