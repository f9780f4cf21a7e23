"""From a registration to its steps: check, diff, decide. Serial: one registration is decided at a time.

The rules are those of the Pulumi engine (3.260).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pulumi_embedded.deployment.aliases import AliasResolver
from pulumi_embedded.deployment.cascade import ResourceError, dependent_replacements
from pulumi_embedded.deployment.registry import ProviderRegistry
from pulumi_embedded.differ import diff_objects, equal
from pulumi_embedded.errors import EngineError
from pulumi_embedded.events import Severity
from pulumi_embedded.goals import Goal
from pulumi_embedded.graph import dependents_of
from pulumi_embedded.options import Cancelled, Options, Target
from pulumi_embedded.paths import copy_at, parse_path
from pulumi_embedded.processes.answers import DiffUnavailable, check_message
from pulumi_embedded.state import ResourceState
from pulumi_embedded.steps import (
    Action,
    Diff,
    Op,
    Step,
    decide,
    replacement_steps,
    with_replace_on_changes,
)
from pulumi_embedded.urns import make_urn
from pulumi_embedded.values import Properties, unwrap

__all__ = ["StepGenerator"]


class StepGenerator:
    """Decides the steps of every registration and, at the end, which resources are to go."""

    def __init__(
        self,
        target: Target,
        options: Options,
        registry: ProviderRegistry,
        base: Sequence[ResourceState],
        say: Callable[[str, Severity, str], None],
    ) -> None:
        self._target = target
        self._options = options
        self._registry = registry
        self._base = base
        self._say = say
        self._olds = {each.urn: each for each in base if not each.delete}
        self._aliases = AliasResolver(target.stack, target.project.name, self._olds)
        self._seen: set[str] = set()
        # URNs whose fate is decided: unchanged, created, updated, replaced or read.
        self._operated: set[str] = set()
        # URNs that a replacement deleted ahead; they are created again when the program registers them.
        self._deleted_ahead: dict[str, tuple[str, ...]] = {}
        self.deleting: set[str] = set()
        self.errored = False

    def urn(self, goal: Goal) -> str:
        """The URN that the registration gets."""
        return make_urn(self._target.stack, self._target.project.name, goal.parent, goal.type, goal.name)

    def steps(self, goal: Goal) -> list[Step]:
        """The steps for one registration, never none; raises ResourceError where there can be none."""
        urn = self.urn(goal)
        if urn in self._seen:
            raise ResourceError(urn, f"Duplicate resource URN '{urn}'; try giving it a unique name")
        self._seen.add(urn)
        old = self._aliases.find(goal, urn)
        new = goal.state(urn)
        if not self._implicit(goal) and not self._options.targeted(urn):
            return self._untargeted(old, new)
        try:
            steps = self._decide(goal, old, new)
        except (ResourceError, Cancelled):
            raise
        except EngineError as error:
            raise ResourceError(urn, str(error)) from None
        self._operated.update({urn} | ({old.urn} if old else set()))
        return steps

    @staticmethod
    def _implicit(goal: Goal) -> bool:
        return goal.type == "pulumi:pulumi:Stack" or goal.type.startswith("pulumi:providers:")

    def _untargeted(self, old: ResourceState | None, new: ResourceState) -> list[Step]:
        self._operated.add(new.urn)
        if old is None:
            raise ResourceError(
                new.urn,
                "this resource is not among the targets and not in the state yet; "
                "the Pulumi CLI leaves such resources out of an update: use it, or name the resource with --target",
            )
        kept = old.copy()
        return [Step(Op.SAME, old, kept)]

    def _decide(self, goal: Goal, old: ResourceState | None, new: ResourceState) -> list[Step]:
        recreating = new.urn in self._deleted_ahead
        fresh = old is None or recreating or old.external
        if old is not None:
            new.inputs = self._ignoring(goal, goal.inputs, old.inputs)
        seed = os.urandom(32)
        olds = {} if fresh or old is None else old.inputs
        new.inputs = self._check(new, olds, goal.inputs if fresh else new.inputs, seed)
        if old is None:
            return [Step(Op.CREATE, None, new)]
        if recreating:
            keys = self._deleted_ahead.pop(new.urn)
            self.deleting.discard(new.urn)
            return [Step(Op.REPLACE, old, new), Step(Op.CREATE_REPLACEMENT, old, new, keys=keys)]
        if old.external:
            return replacement_steps(Action.REPLACE, old, new, Diff())
        return self._decide_known(goal, old, new, seed)

    def _decide_known(self, goal: Goal, old: ResourceState, new: ResourceState, seed: bytes) -> list[Step]:
        diff = with_replace_on_changes(self._diff(goal, old, new), goal.replace_on_changes, bool(old.init_errors))
        action = decide(old, diff, goal.delete_before_replace)
        if action is Action.SAME:
            return [Step(Op.SAME, old, new)]
        if action is Action.UPDATE:
            return [
                Step(
                    Op.UPDATE,
                    old,
                    new,
                    diffs=diff.changed,
                    detailed_diff=diff.detailed,
                    ignore_changes=goal.ignore_changes,
                )
            ]
        self._refuse_protected(old, new)
        new.inputs = self._check(new, {}, goal.inputs, seed)
        condemned: list[ResourceState] = []
        if action is Action.DELETE_THEN_REPLACE:
            condemned = self._condemn_dependents(old)
            self.deleting.add(old.urn)
        return replacement_steps(action, old, new, diff, condemned)

    def _refuse_protected(self, old: ResourceState, new: ResourceState) -> None:
        if not (old.protect and new.protect):
            return
        message = (
            f'unable to replace resource "{new.urn}"\nas it is currently marked for protection. '
            "To unprotect the resource, remove the `protect` flag from the resource in your Pulumi program "
            "and run `pulumi up`"
        )
        if not self._options.dry_run:
            raise ResourceError(new.urn, message)
        self._say(new.urn, Severity.ERROR, message)
        self.errored = True

    def _check(self, new: ResourceState, olds: Properties, news: Properties, seed: bytes) -> Properties:
        if not new.custom:
            return news
        if new.is_provider:
            inputs, failures = self._registry.check(new.urn, olds, news)
        else:
            inputs, failures = self._registry.get(new.provider).check(new.urn, olds, news, seed)
        if failures:
            for failure in failures:
                self._say(new.urn, Severity.ERROR, check_message(new, failure, inputs))
            raise ResourceError(new.urn, "")
        return inputs

    def _diff(self, goal: Goal, old: ResourceState, new: ResourceState) -> Diff:
        if self._provider_changed(old, new):
            return Diff(changes=True, replaces=("provider",))
        if not new.custom:
            return Diff(changes=not equal(old.inputs, new.inputs))
        if new.is_provider:
            return self._registry.diff(old, new.inputs)
        try:
            return self._provider_diff(old, new, goal.ignore_changes)
        except DiffUnavailable as error:
            self._say(new.urn, Severity.WARNING, str(error))
            return Diff(changes=True)

    def _provider_diff(self, old: ResourceState, new: ResourceState, ignore_changes: list[str]) -> Diff:
        diff = self._registry.get(new.provider).diff(new.urn, old, new.inputs, ignore_changes)
        if diff.changes is not None:
            return diff
        news = self._ignoring_paths(ignore_changes, new.inputs, old.inputs)
        found = diff_objects(unwrap(old.inputs), unwrap(news))
        return Diff(bool(found), diff.replaces, tuple(found.changed_keys()) if found else ())

    def _provider_changed(self, old: ResourceState, new: ResourceState) -> bool:
        if old.provider == new.provider:
            return False
        if not old.provider or not new.provider:
            return True
        new_urn = new.provider.rpartition("::")[0]
        old_urn = old.provider.rpartition("::")[0]
        if self._aliases.renamed.get(old_urn) == new_urn:
            return False
        return self._registry.diff_between(old.provider, new.provider).needs_replace

    def _ignoring(self, goal: Goal, news: Properties, olds: Properties) -> Properties:
        return self._ignoring_paths(goal.ignore_changes, news, olds)

    @staticmethod
    def _ignoring_paths(paths: Sequence[str], news: Properties, olds: Properties) -> Properties:
        for path in paths:
            news = copy_at(news, olds, parse_path(path))
        return news

    def _condemn_dependents(self, root: ResourceState) -> list[ResourceState]:
        decided = self._operated | self._deleted_ahead.keys()
        found = dependent_replacements(self._base, root, decided, self._diff_blind)
        for each, keys in found.items():
            self._deleted_ahead[each.urn] = keys
            self.deleting.add(each.urn)
        return list(found)

    def _diff_blind(self, old: ResourceState, blind: ResourceState) -> Diff:
        if old.is_provider:
            return self._registry.diff(old, blind.inputs)
        return self._provider_diff(old, blind, old.ignore_changes)

    def read(self, state: ResourceState) -> list[Step]:
        """The steps for a resource that the program reads and does not own."""
        if state.urn in self._seen:
            raise ResourceError(state.urn, f"Duplicate resource URN '{state.urn}'; try giving it a unique name")
        self._seen.add(state.urn)
        self._operated.add(state.urn)
        old = self._olds.get(state.urn)
        if old is not None and not old.external:
            return [
                Step(Op.READ_REPLACEMENT, old, state, pending_delete=True),
                Step(Op.REPLACE, old, state),
            ]
        return [Step(Op.READ, old, state)]

    def deletes(self) -> list[Step]:
        """The steps for everything in the state that the program no longer has, in no order yet.

        Raises ResourceError where a target is to go and something that stays depends on it.
        """
        steps = [step for each in self._base if (step := self._delete(each)) is not None]
        going = {id(step.resource) for step in steps}
        for step in steps if self._options.targets else []:
            for each in dependents_of(self._base, step.resource):
                if id(each) not in going and each.urn not in self._operated:
                    raise ResourceError(
                        step.urn, f"{each.urn} depends on it and would stay; name it with --target too, or neither"
                    )
        return steps

    def _delete(self, state: ResourceState) -> Step | None:
        if not self._options.targeted(state.urn):
            return None
        if state.delete:
            self.deleting.add(state.urn)
            return Step(Op.DELETE_REPLACED, state, None)
        if state.urn in self._operated:
            return None
        self.deleting.add(state.urn)
        if state.pending_replacement:
            return Step(Op.REMOVE_PENDING_REPLACE, state, None)
        return Step(Op.READ_DISCARD if state.external else Op.DELETE, state, None)
