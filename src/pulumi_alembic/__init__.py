"""A database's Alembic revision as a Pulumi resource: previewed, applied and rolled back with its stack.

Programs, `env.py` and revision scripts import the names in `__all__` from here.
"""

import sys

if sys.argv[0].endswith(("/pulumi-alembic", "/alembic", "/alembic/__main__.py")):
    # Until Ctrl-C ends the process at once, the import of `signal` must not end in a traceback either.
    sys.excepthook = lambda *_: None
    import signal

    # While the modules of the command and of env.py are loaded, Ctrl-C ends the process without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = sys.__excepthook__

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pulumi_alembic.errors import (
    DatabaseError,
    HistoryError,
    MigrationError,
    RevisionFailed,
    TargetError,
)

if TYPE_CHECKING:
    from pulumi_alembic.fanout.plan.waves import Waves
    from pulumi_alembic.migrate.backfills.declare import backfill
    from pulumi_alembic.migrate.blocks.batched import batched_delete, batched_insert, batched_update
    from pulumi_alembic.migrate.ensure import ensure
    from pulumi_alembic.resource import Migrations, proof_of
    from pulumi_alembic.review.lint.custom import LINT_API, LintFinding, LintRule, LintStatement
    from pulumi_alembic.stack.arguments import Approval, Backup, Commands, Contract, Drift, PromoteFrom
    from pulumi_alembic.stack.databases import Query, Schemas

__all__ = [
    "LINT_API",
    "Approval",
    "Backup",
    "Commands",
    "Contract",
    "DatabaseError",
    "Drift",
    "HistoryError",
    "LintFinding",
    "LintRule",
    "LintStatement",
    "MigrationError",
    "Migrations",
    "PromoteFrom",
    "Query",
    "RevisionFailed",
    "Schemas",
    "TargetError",
    "Waves",
    "backfill",
    "batched_delete",
    "batched_insert",
    "batched_update",
    "ensure",
    "proof_of",
]

_MODULES = {
    **dict.fromkeys(("Approval", "Backup", "Commands", "Contract", "Drift", "PromoteFrom"), "stack.arguments"),
    **dict.fromkeys(("LINT_API", "LintFinding", "LintRule", "LintStatement"), "review.lint.custom"),
    **dict.fromkeys(("Migrations", "proof_of"), "resource"),
    "Query": "stack.databases",
    "Schemas": "stack.databases",
    "Waves": "fanout.plan.waves",
    "backfill": "migrate.backfills.declare",
    "batched_delete": "migrate.blocks.batched",
    "batched_insert": "migrate.blocks.batched",
    "batched_update": "migrate.blocks.batched",
    "ensure": "migrate.ensure",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that `alembic` does not load Pulumi, nor a program Alembic."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
