"""Read where a database is, and plan from there. Nothing is changed, and Alembic is not loaded for the plan itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import connect, login_search_path, read_catalog_document, read_heads
from pulumi_alembic.database.endpoint import refuse_read_only
from pulumi_alembic.database.tenant import schema_of
from pulumi_alembic.errors import HistoryError
from pulumi_alembic.ledger import contract_policy, integrity, ledger, replaced_scripts, stored_scripts
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.migrate.loading import for_good
from pulumi_alembic.scripts import phases
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.phases import Contracts
from pulumi_alembic.scripts.plan import Direction, Plan, plan, revision_text, with_baseline
from pulumi_alembic.scripts.revision import CONTRACT

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.sql.catalog import Catalog

__all__ = [
    "PlanContext",
    "plan_context_from_base",
    "plan_context_over",
    "plan_from_database",
    "read_plan_context",
    "read_revision",
    "refuse_unfit",
    "without_held",
]


def read_revision(url: str) -> str:
    """Return the database's revision: an id, `base`, or several ids joined by `+`. Raises DatabaseError."""
    with connect(url) as connection:
        return revision_text(read_heads(connection))


@dataclass(frozen=True)
class PlanContext:
    """A plan, the history that it was made from and, on request, the catalog of the database.

    Attributes:
        catalog: None unless it was asked for and the plan has steps.
        server: the server's major version, or 0 if there is no database yet.

    """

    plan: Plan
    history: History
    catalog: Catalog | None = None
    server: int = 0


def plan_from_database(job: Job) -> Plan:
    """Return the plan from the database's revision, after checking that its scripts can run. Nothing is changed.

    Alembic is not loaded if the plan is empty.

    Raises:
        HistoryError: as `refuse_unfit` raises it.
        MigrationError: as `read_plan_context` raises it.

    """
    steps = read_plan_context(job).plan
    refuse_unfit(steps, job.url)
    return steps


def read_plan_context(job: Job, *, catalog: bool = False) -> PlanContext:
    """Return the plan from the database's revision, read over one connection. No script is imported.

    Args:
        job: the database, the scripts and the target.
        catalog: read the catalog too, if the plan has steps.

    Raises:
        DatabaseError: the database cannot be read.
        TargetError: no path leads to the target.
        HistoryError: an applied script differs from the one that ran, or the manifest does not match the scripts.
        StoredScriptError: with `job.trust`, a stored script is not trusted.

    """
    # The scripts are read while the server answers.
    document = None
    with ThreadPoolExecutor(1) as executor:
        scripts = executor.submit(job.read_history)
        with connect(job.url) as connection:
            context = plan_context_over(connection, scripts.result, job)
            if catalog and context.plan.steps:
                # Revisions run with the login's search_path, not with this session's.
                document = read_catalog_document(connection, login_search_path(job.url))
    if document is None:
        return context
    from pulumi_alembic.sql.catalog import Catalog

    # The connection is closed by now, so that parsing holds no transaction open.
    return replace(context, catalog=Catalog.of(document))


def plan_context_over(connection: Connection, scripts: Callable[[], History], job: Job) -> PlanContext:
    """Plan over an open connection, as `read_plan_context` does.

    Args:
        connection: a session of the database.
        scripts: returns the history. It is called after the heads are read.
        job: the target and what is allowed.

    """
    refuse_read_only(connection)
    heads = read_heads(connection) or job.adopted
    history = scripts()
    integrity.check(connection, history, heads)
    history.require_manifest()
    targets = history.resolve(job.target)
    if job.trust is not None:
        history = stored_scripts.complete(connection, history, heads, job.trust)
    if job.trust is None or job.trust.rolls_back:
        history = replaced_scripts.put_back(connection, history, heads, targets)
    steps = plan(history, heads, targets)
    if steps.steps and schema_of(connection) and phases.asked_for(history):
        raise HistoryError("a script declares a backfill, which tenants do not have: change the rows in the revision")
    if job.contracts is not None:
        steps = without_held(connection, steps, history, job.contracts)
    if job.baselines and history.baselines and not heads and _is_empty(connection):
        steps = with_baseline(steps, history)
    return PlanContext(steps, history, None, connection.info.server_version // 10000)


# Schemas and extensions with their objects are created before revisions run, so they do not count.
_OBJECTS = """
SELECT EXISTS (
    SELECT FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid
    WHERE refclassid = 'pg_namespace'::regclass AND deptype = 'n' AND nspname NOT IN ('migrations', 'pg_catalog')
        AND nspname <> 'information_schema' AND nspname !~ '^pg_toast'
        AND classid NOT IN ('pg_extension'::regclass, 'pg_default_acl'::regclass)
        AND NOT EXISTS (SELECT FROM pg_depend e
            WHERE e.classid = d.classid AND e.objid = d.objid AND e.deptype = 'e')
)
"""


def _is_empty(connection: Connection) -> bool:
    """Return whether no revision was ever applied, and nothing exists that a revision could have created."""
    return not ledger.ran(connection) and connection.execute(_OBJECTS).fetchone() == (False,)


def without_held(connection: Connection, steps: Plan, history: History, contracts: Contracts) -> Plan:
    """Return the plan without contracts that are not due.

    Args:
        connection: a session of the database, for the times when expands were applied.
        steps: the whole plan.
        history: the scripts.
        contracts: when contracts are due.

    Raises:
        TargetError: an expand builds on a held contract.

    """
    if steps.direction is not Direction.UPGRADE or not any(step.phase == CONTRACT for step in steps.steps):
        return steps
    if contracts.by_hand:
        contracts = contracts.stored(contract_policy.read(connection))
    applied = contract_policy.applied(connection, phases.awaited(steps, history))
    if phases.asked_for(history):
        from pulumi_alembic.migrate.backfills import store

        open_ = [backfill for backfill in store.read(connection) if backfill.state in store.OPEN]
        applied = replace(applied, unfinished={backfill.revision: str(backfill) for backfill in open_})
    return phases.hold(steps, history, contracts, applied)


def plan_context_from_base(job: Job, current: Sequence[str] = ()) -> PlanContext:
    """Return the plan for a database that does not exist yet, or was at `current` when it was last read.

    Raises:
        HistoryError: as for `read_plan_context`.
        TargetError: as for `read_plan_context`.

    """
    history = job.read_history()
    history.require_manifest()
    steps = plan(history, current, history.resolve(job.target))
    if job.contracts is not None:
        steps = phases.hold(steps, history, job.contracts, phases.Applied(datetime.now(UTC)))
    if job.baselines:
        steps = with_baseline(steps, history)
    return PlanContext(steps, history)


_IMPORTED: set[tuple[Path, str]] = set()
"""The scripts that this process has imported, each with the checksum of its text."""


def refuse_unfit(steps: Plan, url: str | None) -> None:
    """Check that the scripts of the plan can be imported and run, as far as that is known before.

    Args:
        steps: the plan.
        url: the database, or None if it does not exist yet.

    Raises:
        HistoryError: a script cannot be imported, or has a statement in the wrong place.
        TargetError: a downgrade reverts nothing.

    """
    if not steps.steps:
        return
    with for_good("pulumi_alembic.migrate.alembic_run"):
        from pulumi_alembic.migrate import function_check
        from pulumi_alembic.migrate.alembic_run import import_scripts
        from pulumi_alembic.scripts.shape import Function

    # A script that was imported once in this process can be imported again.
    fresh = [step for step in steps.steps if (step.path, step.checksum) not in _IMPORTED]
    import_scripts(fresh)
    _IMPORTED.update((step.path, step.checksum) for step in fresh)
    function_check.refuse_unfit([Function(step.path, step.source, steps.direction) for step in steps.steps], url)
