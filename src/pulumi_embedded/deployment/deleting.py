"""Carries out the deletes: dependents first, and what a protected resource needs stays with it."""

from __future__ import annotations

from collections.abc import Sequence

from pulumi_embedded.deployment.stepping import StepRunner
from pulumi_embedded.model.graph import delete_order, needs_of
from pulumi_embedded.model.options import Cancellation
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Step

__all__ = ["run_deletes"]


def run_deletes(
    runner: StepRunner, cancellation: Cancellation, resources: Sequence[ResourceState], steps: Sequence[Step]
) -> None:
    """Runs the steps in rounds; a round begins when the one before has ended.

    A resource whose step failed stays in the state with all that it depends on. The other deletes are carried out if it
    is a protected one, or with `--continue-on-error` (Pulumi CLI 3.260). Any other failure stops everything.
    """
    step_of = {id(step.resource): step for step in steps}
    for batch in delete_order(resources, [step.resource for step in steps]):
        cancellation.check()
        undone = {id(step.old) for step in runner.failures}
        needed = needs_of(resources, [each for each in resources if id(each) in undone])
        runner.run_all([step_of[id(each)] for each in batch if id(each) not in needed])
