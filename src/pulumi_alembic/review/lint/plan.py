"""Lint a whole plan: its revisions, and rules about the plan itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pulumi_alembic.output.wording import lasted
from pulumi_alembic.review.lint.context import Draft
from pulumi_alembic.review.lint.linter import Linter, RevisionLint
from pulumi_alembic.review.lint.models import differences
from pulumi_alembic.scripts.phases import BEHIND
from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.revision import CONTRACT
from pulumi_alembic.sql.effects import after
from pulumi_alembic.sql.running_code import RunningCode

if TYPE_CHECKING:
    from pulumi_alembic.scripts.history import History
    from pulumi_alembic.scripts.revision import Revision
    from pulumi_alembic.sql.catalog import Catalog, Models

__all__ = ["PlanLint"]

_SHOWN = 3


@dataclass(frozen=True)
class PlanLint:
    """The lint of one plan.

    Attributes:
        newest: Whether the plan is an upgrade to the only head, but for contracts that wait.
        known: Whether all statements are known.
        models: The program's models, if a script's rendering read them.
        server: The server's major version. 0 if it is not known.
        later: The statements of the contracts that wait. The models are compared with the schema after these.

    """

    linter: Linter
    plan: Plan
    newest: bool
    known: bool
    models: Sequence[Models]
    server: int = 0
    later: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, linter: Linter, plan: Plan, history: History, models: Sequence[Models], *, known: bool, server: int = 0
    ) -> PlanLint:
        """Return the lint of a plan. `known` is whether all of its statements are known, and of what waits."""
        newest = plan.direction is Direction.UPGRADE and _is_newest(plan, history)
        return cls(linter, plan, newest, known, models, server)

    def revision(self, script: Revision, before: Catalog | None) -> RevisionLint:
        """Return the lint of one revision. `before` is the catalog before it."""
        lint = self.linter.revision(script, before, self._running(before))
        contracts = {step.id for step in self.plan.steps if step.phase == CONTRACT} if lint.running else set()
        lint.follows = not contracts.isdisjoint(script.down)
        return lint

    def _running(self, before: Catalog | None) -> RunningCode | None:
        """Return the code that runs while the revision does. None if there is none, or its schema is not known.

        Without a database, the code is that of the schema after the previous revision.
        """
        if self.plan.direction is not Direction.UPGRADE:
            return None
        if self.linter.static:
            return RunningCode(before) if before else None
        return self._code

    @cached_property
    def _code(self) -> RunningCode | None:
        # No code runs on a database to which no revision was ever applied.
        return RunningCode(self.linter.there) if self.linter.there and self.plan.current else None

    def proven_by(self, step: Revision) -> str:
        """Return the upstream stack that proves the revision. Empty if none does, or none must."""
        lower = self.linter.settings.lower
        upgrade = self.plan.direction is Direction.UPGRADE
        return lower.stack if upgrade and lower and not lower.lacks(step, self.server) else ""

    def waited(self, step: Revision) -> str:
        """Return how long the contract waited on the stack that proves it. Empty if that is not known."""
        lower = self.linter.settings.lower
        window = lower.proof.windows.get(step.id) if lower and lower.proof and self.proven_by(step) else None
        return "" if window is None else lasted(window)

    def of_plan(self, step: Revision, catalog: Catalog | None) -> list[Draft]:
        """Return drafts about the plan that belong to this revision. `catalog` is the catalog after it."""
        drafts = []
        settings = self.linter.settings
        upgrade = self.plan.direction is Direction.UPGRADE
        if upgrade and settings.lower:
            lacks, advice = settings.lower.judge(step, self.server)
            drafts += [Draft("unproven-revision", lacks, (), advice)] if lacks else []
        # A database to which no revision was ever applied has nothing to lose.
        first = step is self.plan.steps[0] and self.plan.current
        if upgrade and first and settings.production and settings.backup == "never":
            text = "this is a production stack, and no backup is taken before its revisions run"
            drafts.append(Draft("production-without-backup", text, (), settings.configure_backup))
        drafts += _other_tools(step)
        drafts += self._behind(step) if upgrade and self.linter.static else ()
        if step is self.plan.steps[-1] and self.newest and self.known and catalog and any(self.models):
            for sql in self.later:
                catalog = after(sql, catalog)
            drafts += _models(self.models[0], catalog)
        return drafts

    def _behind(self, step: Revision) -> Iterator[Draft]:
        """Return a draft if an expand builds on a contract. With a database, the plan itself rejects this."""
        steps = {planned.id: planned for planned in self.plan.steps}
        held = [id for id in step.down_revisions if id in steps and steps[id].phase == CONTRACT]
        if step.phase != CONTRACT and held and len(step.down) < _MERGE:
            text = f"it is an expand, and builds on the contract {' and '.join(held)}"
            yield Draft(BEHIND, text, (), "# let the contract build on this revision, not this one on the contract")


def _is_newest(plan: Plan, history: History) -> bool:
    """Return whether the plan leads to the only head, but for revisions that wait."""
    if not plan.waits:
        return history.heads == (plan.target,)
    return (
        len(history.heads) == 1 and history.revisions.keys() <= {step.id for step in plan.applied} | plan.waits.keys()
    )


_MERGE = 2
"""The number of revisions that a merge builds on."""


def _models(models: Models, catalog: Catalog) -> list[Draft]:
    """Return one draft for all differences."""
    modelled = list(differences(models, catalog))
    more = f"; and {len(modelled) - _SHOWN} more" if len(modelled) > _SHOWN else ""
    lacking = [model.unmodelled for model in modelled if model.unmodelled]
    # This comes first, because autogenerate drops tables that have no model.
    instead = [f"# add to the models: {', '.join(lacking)}"] if lacking else []
    instead += [f"# or drop it, if that is meant: alembic revision -m 'drop {lacking[0]}'"] if lacking else []
    if len(lacking) < len(modelled):
        instead.append("alembic revision --autogenerate -m 'follow the models'")
    text = "; ".join(model.text for model in modelled[:_SHOWN]) + more
    return [Draft("models-differ", text, (), "\n".join(instead))] if modelled else []


def _other_tools(revision: Revision) -> Iterator[Draft]:
    """Return a draft if the ledger's script was applied with other versions of tools than the current ones."""
    if not revision.tools:
        return
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    different = []
    for name, then in revision.tools:
        with suppress(PackageNotFoundError):
            now = python_version() if name == "python" else version(name)
            different += [f"{name} {then}, and here is {now}"] if now != then else []
    if different:
        yield Draft("other-tools", f"it was applied with {'; '.join(different)}", (), "")
