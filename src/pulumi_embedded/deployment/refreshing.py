"""Reads every resource, and takes what is found as the state to start from."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_embedded.deployment.stepping import StepRunner
from pulumi_embedded.model.graph import repaired
from pulumi_embedded.model.options import Options
from pulumi_embedded.model.state import PendingOperation, ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.storage.journal import Journal

__all__ = ["run_refresh"]


def run_refresh(
    runner: StepRunner,
    journal: Journal,
    options: Options,
    resources: Sequence[ResourceState],
    chosen: Sequence[ResourceState],
) -> list[ResourceState]:
    """Refreshes the chosen ones of the resources and gives all of them as they are now, the vanished left out."""
    steps = {id(each): Step(Op.REFRESH, each, each.copy()) for each in chosen}
    runner.run_all(list(steps.values()))
    found = [steps[id(each)].new if id(each) in steps else each for each in resources]
    refreshed = repaired(each for each in found if each is not None)
    read = {key for key, step in steps.items() if not runner.stopping and step not in runner.failures}
    unread = {each.urn for each in resources if id(each) not in read}

    def unsettled(operation: PendingOperation) -> bool:
        if operation.type == "creating":
            return not options.clear_pending_creates
        return operation.resource.urn in unread

    journal.drop_pending(unsettled)
    journal.rebase(refreshed)
    return refreshed
