"""Record the plan of an operation, and hold the operation to a saved plan."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence

from pulumi_embedded.deployment.cascade import ResourceError
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.goals import Goal
from pulumi_embedded.model.plan import PropertyChanges, ResourcePlan, UpdatePlan, allows, unchanged
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.model.values import Properties

__all__ = ["Constraint"]

_SEED_BYTES = 32


class Constraint:
    """Records what an operation decides. Raises EngineError before any step that a saved plan does not contain.

    The rules are those of the Pulumi engine (3.260). Without a saved plan every step is allowed.
    """

    def __init__(self, plan: UpdatePlan | None, renamed: Mapping[str, str]) -> None:
        self._plan = plan
        # The old URNs that aliases changed in this run, with the new ones.
        self._renamed = renamed
        self._expected = {urn: list(goal.steps) for urn, goal in plan.resources.items()} if plan else {}
        self._recorded: dict[str, ResourcePlan] = {}
        # The last state of each unchanged or created resource. Its step fills in the outputs.
        self._states: dict[str, ResourceState] = {}

    def seed(self, urn: str) -> bytes:
        """Return the seed of random defaults, the planned one if there is a plan, so that they are the same."""
        planned = self._plan.resources.get(urn) if self._plan else None
        return (planned.seed if planned else b"") or os.urandom(_SEED_BYTES)

    def registered(
        self, goal: Goal, old: ResourceState | None, new: ResourceState, olds: Properties, seed: bytes
    ) -> None:
        """Record a registration.

        Args:
            goal: The registration.
            old: The resource in the state.
            new: The resource with its checked inputs.
            olds: The inputs in the state. Empty if the provider must not use them.
            seed: The seed that the inputs were checked with.

        Raises:
            ResourceError: The registration differs from the plan.

        """
        recorded = self._recorded.setdefault(new.urn, ResourcePlan())
        recorded.goal, recorded.seed = goal, seed
        recorded.inputs = PropertyChanges.between(olds, new.inputs)
        if self._plan is None:
            return
        planned = self._plan.resources.get(new.urn) or (unchanged(old) if old else None)
        # A new resource that is not in the plan is rejected because of its step.
        if planned is None or not planned.violation(goal, olds, new.inputs):
            return
        # The Pulumi CLI compares with the inputs in the state here, whatever the plan was compared with.
        if violation := planned.violation(goal, old.inputs if old else {}, new.inputs):
            raise ResourceError(new.urn, f"resource {new.urn} violates plan: {violation}")

    def imported(self, goal: Goal, new: ResourceState, seed: bytes) -> None:
        """Record a registration that imports a resource.

        The import is no step of a plan, and the inputs are not known yet.

        Raises:
            ResourceError: The options differ from the plan. The Pulumi CLI reports this only after the import.

        """
        self._recorded[new.urn] = ResourcePlan(goal, seed=seed)
        self._states[new.urn] = new
        if self._plan is None:
            return
        planned = self._plan.resources.get(new.urn)
        violation = planned.option_violation(goal) if planned else "it was not to be imported"
        if violation:
            raise ResourceError(new.urn, f"resource {new.urn} violates plan: {violation}")

    def decided(self, steps: Sequence[Step]) -> None:
        """Record the steps of a registration. Raises EngineError if the plan does not allow one of them."""
        for step in steps:
            urn = self._renamed.get(step.urn, step.urn)
            self._require(step.urn, step)
            if step.op is not Op.SAME or urn in self._recorded:
                self._record(urn, step)

    def deleted(self, steps: Sequence[Step]) -> None:
        """Record the deletes and kept resources. Raises EngineError if the plan does not allow one of them."""
        for step in steps:
            self._require(step.urn, step)
            self._record(step.urn, step)

    def _record(self, urn: str, step: Step) -> None:
        self._recorded.setdefault(urn, ResourcePlan()).steps.append(step.op)
        # The Pulumi CLI (3.260) records no outputs if the step is that of the old URN: a renamed resource is no target.
        if step.new is not None and not step.left_out and step.urn == urn:
            self._states[urn] = step.new

    def _require(self, urn: str, step: Step) -> None:
        if self._plan is None:
            return
        if urn not in self._expected:
            why = "" if allows(Op.SAME, step.op) else "no steps were expected for this resource"
        elif not self._expected[urn]:
            why = "no more steps were expected for this resource"
        else:
            planned = self._expected[urn].pop(0)
            why = "" if allows(planned, step.op) else f"this resource is constrained to {planned}"
        if why:
            raise EngineError(f"{step.op} is not allowed by the plan: {why}")

    def completed(self, urn: str, olds: Properties, outputs: Properties) -> None:
        """Record the outputs of a component. Raises ResourceError if they differ from the plan."""
        recorded = self._recorded.get(urn)
        if recorded is not None:
            recorded.outputs = PropertyChanges.between(olds, outputs)
        if self._plan is None:
            return
        planned = self._plan.resources.get(urn)
        if planned is None:
            raise ResourceError(urn, f"no plan for resource {urn}")
        if violation := planned.outputs.violation(olds, outputs):
            raise ResourceError(urn, f"resource violates plan: {violation}")

    def missing(self, state: Collection[str]) -> Iterator[str]:
        """Return the URNs with planned steps that did not happen, except deletes of resources that the state lacks."""
        for urn, steps in sorted(self._expected.items()):
            if steps and not (steps == [Op.DELETE] and urn not in state):
                yield urn

    def plan(self) -> UpdatePlan:
        """Return what was decided, with the resulting outputs."""
        for urn, state in self._states.items():
            self._recorded[urn].state = state.outputs
        return UpdatePlan(self._recorded)
