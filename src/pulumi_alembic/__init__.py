"""A database's schema revision as a resource of a Pulumi stack, previewed, applied and rolled back with it."""

from typing import TYPE_CHECKING, Any

from pulumi_alembic.errors import DatabaseError, HistoryError, MigrationError, RevisionFailed, TargetError

if TYPE_CHECKING:
    from pulumi_alembic.execution.batched import batched_update
    from pulumi_alembic.fanout.query import Query
    from pulumi_alembic.resource import Migrations

__all__ = [
    "DatabaseError",
    "HistoryError",
    "MigrationError",
    "Migrations",
    "Query",
    "RevisionFailed",
    "TargetError",
    "batched_update",
]


def __getattr__(name: str) -> Any:
    """What needs Pulumi or Alembic, on first use: the `alembic` command needs not the one, a program not the other."""
    if name == "batched_update":
        from pulumi_alembic.execution.batched import batched_update

        return batched_update
    if name == "Migrations":
        from pulumi_alembic.resource import Migrations

        return Migrations
    if name == "Query":
        from pulumi_alembic.fanout.query import Query

        return Query
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
