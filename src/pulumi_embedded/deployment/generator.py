"""Decide the steps of a registration: check, compare, decide. One registration is decided at a time.

The rules are those of the Pulumi engine (3.260).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pulumi_embedded.deployment.aliases import AliasResolver
from pulumi_embedded.deployment.cascade import ResourceError, dependent_replacements, refuse_protected
from pulumi_embedded.deployment.comparing import Comparer, ignoring
from pulumi_embedded.deployment.constraint import Constraint
from pulumi_embedded.deployment.registry import ProviderRegistry
from pulumi_embedded.deployment.targeting import Targeting, kept_step
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.events import Severity
from pulumi_embedded.model.goals import Goal
from pulumi_embedded.model.options import Cancelled, Options
from pulumi_embedded.model.plan import value_text
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Action, Diff, Op, Step, decide, replacement_steps, with_replace_on_changes
from pulumi_embedded.model.urns import make_urn
from pulumi_embedded.model.values import Properties
from pulumi_embedded.storage.target import Target

__all__ = ["StepGenerator"]

Result = TypeVar("Result")


class StepGenerator:
    """Decides the steps of every registration and, at the end, the deletes."""

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
        self._base = base
        self._say = say
        self._olds = {resource.urn: resource for resource in base if not resource.delete}
        self._aliases = AliasResolver(target.stack, target.project.name, self._olds)
        self._comparer = Comparer(registry, self._aliases.renamed, say, preview=options.dry_run)
        self.targeting = Targeting(options, base)
        self.constraint = Constraint(options.plan, self._aliases.renamed)
        self._seen: set[str] = set()
        # URNs whose steps are decided: unchanged, created, updated, replaced or read.
        self._operated: set[str] = set()
        self._replaced: set[str] = set()
        # URNs that the program read before and creates now.
        self._owned: set[str] = set()
        # URNs that a replacement has deleted. They are created again when the program registers them.
        self._deleted_ahead: dict[str, tuple[str, ...]] = {}
        # Resources that earlier updates replaced, and that a replacement has deleted now.
        self._gone: set[int] = set()
        self.deleting: set[str] = set()
        self.errored = False

    def urn(self, goal: Goal) -> str:
        """Return the URN of the registration."""
        return make_urn(self._target.stack, self._target.project.name, goal.parent, goal.type, goal.name)

    def steps(self, goal: Goal) -> list[Step]:
        """Return the steps of one registration, at least one.

        After the step of an import, `after_import` returns the next ones.

        Raises:
            ResourceError: No step is possible.

        """
        urn = self._first_seen(self.urn(goal))
        old, conflicts = self._aliases.find(goal, urn, self._seen)
        for conflict in conflicts:
            self._say(urn, Severity.ERROR, conflict)
        new = goal.state(urn)
        if old is not None and old.urn != urn:
            new.aliases = [old.urn]
        steps = self._explained(urn, lambda: self._decide(goal, old, new, conflicted=bool(conflicts)))
        if not steps[0].op.imports:
            self._explained(urn, lambda: self.constraint.decided(steps))
        self._operated.update({urn} | ({old.urn} if old else set()) | {step.urn for step in steps if step.untargeted})
        self._require_made(steps)
        return steps

    def after_import(self, goal: Goal, imported: ResourceState) -> list[Step]:
        """Return the steps of the imported resource on its way to the program's goal. Empty if it is there."""
        new = goal.state(imported.urn)
        new.aliases = imported.aliases
        seed = self.constraint.seed(new.urn)

        def decide() -> list[Step]:
            if self.targeting.includes(new):
                new.inputs = self._checked(goal, imported, new, seed)
                self.constraint.registered(goal, imported, new, imported.inputs, seed)
                steps = [step for step in self._decide_existing(goal, imported, new, seed) if step.op is not Op.SAME]
            else:
                # The Pulumi CLI (3.260) imports a resource that is left out too, and changes nothing else of it.
                self._take_old_inputs(imported, new)
                steps = self._leave(goal, imported, new, seed)
            self.constraint.decided(steps)
            return steps

        return self._explained(new.urn, decide)

    def _first_seen(self, urn: str) -> str:
        if urn in self._seen:
            raise ResourceError(urn, f"Duplicate resource URN '{urn}'; try giving it a unique name")
        self._seen.add(urn)
        return urn

    @staticmethod
    def _explained(urn: str, act: Callable[[], Result]) -> Result:
        try:
            return act()
        except (ResourceError, Cancelled):
            raise
        except EngineError as error:
            raise ResourceError(urn, str(error)) from None

    def _require_made(self, steps: Sequence[Step]) -> None:
        """Reject a step that depends on a resource that was left out. A preview reports each one and continues."""
        for dependent, missing in self.targeting.missing(steps):
            # The doubled word is the CLI's.
            why = "which was was not specified in --target list"
            if not self.targeting.constrained:
                # Pulumi CLI 3.260 creates the resource, and then rejects the state.
                why = "which is excluded and not in the state"
            self._refuse(dependent, f"Resource '{dependent}' depends on '{missing}' {why}.")

    def _refuse(self, urn: str, message: str) -> None:
        if not self._options.dry_run:
            raise ResourceError(urn, message)
        self._say(urn, Severity.ERROR, message)
        self.errored = True

    def _decide(self, goal: Goal, old: ResourceState | None, new: ResourceState, *, conflicted: bool) -> list[Step]:
        seed = self.constraint.seed(new.urn)
        if _is_import(goal, old) and not conflicted:
            self.constraint.imported(goal, new, seed)
            return self._import(goal, old, new)
        included = self.targeting.includes(new)
        if included:
            new.inputs = self._checked(goal, old, new, seed)
        if conflicted:
            # One object would belong to two resources, also if it is left out. The conflict was reported before.
            raise ResourceError(new.urn, "")
        if not included:
            self._take_old_inputs(old, new)
            # What a replacement has deleted is created again, and what was read before is created (Pulumi CLI 3.260).
            if old is None or not (old.external or new.urn in self._deleted_ahead):
                return self._leave(goal, old, new, seed)
        olds = old.inputs if old and not self._fresh(old, new) else {}
        self.constraint.registered(goal, old, new, olds, seed)
        if old is None:
            return [Step(Op.CREATE, None, new)]
        if new.urn in self._deleted_ahead:
            return self._recreate(old, new)
        if old.external:
            self._owned.add(new.urn)
            return replacement_steps(Action.REPLACE, old, new, Diff())
        return self._decide_existing(goal, old, new, seed)

    @staticmethod
    def _take_old_inputs(old: ResourceState | None, new: ResourceState) -> None:
        """Give a resource that is left out its old inputs, which no provider checks."""
        if new.custom:
            new.inputs = old.inputs if old else {}

    def _leave(self, goal: Goal, old: ResourceState | None, new: ResourceState, seed: bytes) -> list[Step]:
        """Return the steps of a resource that is left out. No provider is called."""
        self._seen.update({old.urn} if old else ())
        self.constraint.registered(goal, old, new, old.inputs if old else {}, seed)
        return self.targeting.keep(old, self._operated) if old else [self.targeting.skip(new)]

    def _checked(self, goal: Goal, old: ResourceState | None, new: ResourceState, seed: bytes) -> Properties:
        """Return the inputs with the provider's defaults. The old inputs count unless the resource is created again."""
        if old is None:
            return self._comparer.check(new, {}, goal.inputs, seed)
        news = ignoring(self._say, new.urn, goal.ignore_changes, goal.inputs, old.inputs)
        if self._fresh(old, new):
            return self._comparer.check(new, {}, goal.inputs, seed)
        return self._comparer.check(new, old.inputs, news, seed)

    def _fresh(self, old: ResourceState, new: ResourceState) -> bool:
        """Return whether the resource is created again in any case, so that its old inputs do not count."""
        return new.urn in self._deleted_ahead or old.external or self._chosen(old, new)

    def _chosen(self, old: ResourceState, new: ResourceState) -> bool:
        """Return whether `--replace` or `state taint` requires the replacement, whatever differs."""
        return old.taint or self.targeting.replaces(new.urn)

    def _import(self, goal: Goal, old: ResourceState | None, new: ResourceState) -> list[Step]:
        if old is None or new.urn in self._deleted_ahead:
            return [Step(Op.IMPORT, None, new)]
        return [
            Step(Op.IMPORT_REPLACEMENT, None, new, replaced=old),
            Step(Op.REPLACE, old, new),
        ]

    def _recreate(self, old: ResourceState, new: ResourceState) -> list[Step]:
        keys = self._deleted_ahead.pop(new.urn)
        self.deleting.discard(new.urn)
        self._replaced.add(new.urn)
        return [Step(Op.REPLACE, old, new), Step(Op.CREATE_REPLACEMENT, old, new, keys=keys)]

    def _decide_existing(self, goal: Goal, old: ResourceState, new: ResourceState, seed: bytes) -> list[Step]:
        diff = self._commanded(old, new) or self._comparer.diff(goal, old, new)
        diff = with_replace_on_changes(diff, goal.replace_on_changes, bool(old.init_errors))
        action = decide(old, diff, goal.delete_before_replace)
        if action is Action.SAME:
            return [Step(Op.SAME, old, new)]
        if action is Action.UPDATE:
            return [Step(Op.UPDATE, old, new, (), diff.changed, diff.detailed, ignore_changes=goal.ignore_changes)]
        return self._replace(goal, old, new, seed, action, diff)

    def _commanded(self, old: ResourceState, new: ResourceState) -> Diff | None:
        """Return a replacement that needs no difference, because of an option or of another resource's replacement."""
        if self._chosen(old, new):
            return Diff(changes=True, replaces=("id",))
        if self._replaced.intersection(new.replace_with):
            return Diff(changes=True, replaces=("replaceWith",))
        if new.deleted_with in self._replaced:
            return Diff(changes=True, replaces=("deletedWith",))
        return None

    def _replace(
        self, goal: Goal, old: ResourceState, new: ResourceState, seed: bytes, action: Action, diff: Diff
    ) -> list[Step]:
        if old.protect and new.protect:
            self._refuse(
                new.urn,
                f'unable to replace resource "{new.urn}"\nas it is currently marked for protection. '
                "To unprotect the resource, remove the `protect` flag from the resource in your Pulumi program "
                "and run `pulumi-embedded up`",
            )
        if goal.import_id:
            self._refuse_imported(old, new, diff)
        self._replaced.add(new.urn)
        if not self._chosen(old, new):
            new.inputs = self._comparer.check(new, {}, goal.inputs, seed)
        condemned: list[ResourceState] = []
        if action is Action.DELETE_THEN_REPLACE:
            condemned = self._condemn_dependents(old)
            self.deleting.add(old.urn)
        return replacement_steps(action, old, new, diff, condemned)

    def _refuse_imported(self, old: ResourceState, new: ResourceState, diff: Diff) -> None:
        changes = ((key, value_text(old.inputs.get(key)), value_text(new.inputs.get(key))) for key in diff.replaces)
        keys = "\n".join(f"{key}: {before} => {after}" for key, before, after in changes)
        message = (
            "previously-imported resources that still specify an ID may not be replaced; "
            f"please remove the `import` declaration from your program;\n{keys}"
        )
        if not self._options.dry_run:
            raise ResourceError(new.urn, message)
        self._say(new.urn, Severity.WARNING, message)

    def _condemn_dependents(self, root: ResourceState) -> list[ResourceState]:
        replaced = self._replaced_with(root)
        # Pulumi CLI 3.260 deletes again what an interrupted replacement has deleted. A provider can reject that.
        condemned = [
            resource for resource in replaced if id(resource) not in self._gone and not resource.pending_replacement
        ]
        for resource in reversed(condemned):
            refuse_protected(resource, root)
        for resource in condemned:
            if resource.delete:
                self._gone.add(id(resource))
            else:
                self._deleted_ahead[resource.urn] = replaced[resource]
            self.deleting.add(resource.urn)
        return condemned

    def _replaced_with(self, root: ResourceState) -> dict[ResourceState, tuple[str, ...]]:
        decided = self._operated | self._deleted_ahead.keys()
        return dependent_replacements(self._base, root, decided, self._comparer.diff_blind)

    def read(self, state: ResourceState) -> list[Step]:
        """Return the steps for a resource that the program reads and does not own."""
        self._operated.add(self._first_seen(state.urn))
        old = self._olds.get(state.urn)
        if old is None or old.external or old.id == state.id:
            return [Step(Op.READ, old, state)]
        self._replaced.add(state.urn)
        return [Step(Op.READ_REPLACEMENT, old, state, pending_delete=True), Step(Op.REPLACE, old, state)]

    def deletes(self) -> tuple[list[Step], list[Step]]:
        """Return the steps for all resources in the state that the program no longer has.

        If a delete would require another one that was not requested, nothing is deleted.

        Returns:
            The steps of resources that stay, and those of deletes, which are in no order yet.

        """
        allowed = self._deletable()
        keeps, goes = [], []
        for resource in self._base:
            if resource.urn in allowed:
                goes += self._delete(resource)
            elif resource.urn not in self._operated or resource.urn in self._owned:
                # The Pulumi CLI (3.260) counts what the program read before as unchanged.
                keeps.append(kept_step(resource))
        for urn in self.targeting.refused([step.urn for step in goes]):
            self._say(
                urn,
                Severity.ERROR,
                f"Resource '{urn}' will be destroyed but was not specified in --target list.\n"
                "Either include resource in --target list or pass --target-dependents to proceed.",
            )
            self.errored = True
        if self.errored and not self._options.dry_run:
            return [], []
        self.constraint.deleted([*keeps, *goes])
        return keeps, goes

    def _deletable(self) -> set[str]:
        """Return the URNs of the targets, of their dependents, and of all that is replaced with one of these.

        Without targets, return all URNs except those of excluded resources and of those that they need.
        """
        if not self.targeting.constrained:
            return {resource.urn for resource in self._base} - self.targeting.kept()
        chosen = self.targeting.deletable()
        roots = [resource for resource in self._base if resource.urn in chosen]
        return chosen.union(*({resource.urn for resource in self._replaced_with(root)} for root in roots))

    def _delete(self, state: ResourceState) -> list[Step]:
        if id(state) in self._gone or (state.urn in self._operated and not state.delete):
            return []
        self.deleting.add(state.urn)
        if state.delete:
            return [Step(Op.DISCARD_REPLACED if state.external else Op.DELETE_REPLACED, state, None)]
        if state.pending_replacement:
            return [Step(Op.REMOVE_PENDING_REPLACE, state, None)]
        return [Step(Op.READ_DISCARD if state.external else Op.DELETE, state, None)]

    def missing(self) -> list[str]:
        """Return the URNs whose planned steps did not happen."""
        return list(self.constraint.missing({resource.urn for resource in self._base}))

    def unknown_targets(self) -> list[str]:
        """Return the targets that do not exist."""
        return self.targeting.unknown(self._seen)


def _is_import(goal: Goal, old: ResourceState | None) -> bool:
    """Return whether the program imports another resource than the one in the state."""
    if not (goal.custom and goal.import_id):
        return False
    return old is None or old.external or goal.import_id != (old.import_id or old.id)
