"""Execute one decided step: call the provider and fill in the new state."""

from __future__ import annotations

from collections.abc import Callable, Collection

from pulumi_embedded.deployment.comparing import Say, ignoring, known_diff
from pulumi_embedded.deployment.registry import ProviderRegistry
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import equal
from pulumi_embedded.model.events import Severity
from pulumi_embedded.model.state import ResourceState, now
from pulumi_embedded.model.steps import Op, Step, invert
from pulumi_embedded.model.urns import provider_package
from pulumi_embedded.model.values import Secret, unwrap
from pulumi_embedded.processes.answers import PartialFailure, ReadResult

__all__ = ["Protected", "StepExecutor"]

_DELETES = (Op.DELETE, Op.DELETE_REPLACED, Op.READ_DISCARD, Op.DISCARD_REPLACED)


class Protected(EngineError):
    """The resource is protected and was not deleted. Nothing was changed."""


class StepExecutor:
    """Executes steps with the providers. A preview changes nothing outside of this process."""

    def __init__(self, registry: ProviderRegistry, say: Say, *, dry_run: bool) -> None:
        self._registry = registry
        self._say = say
        self._dry_run = dry_run

    def run(self, step: Step, deleting: Collection[str] = ()) -> Op:
        """Execute the step. Afterwards, an output is secret if an option or the input of the same name says so.

        Args:
            step: The step.
            deleting: The URNs that the operation deletes.

        Returns:
            The operation. That of a refresh is same, update or delete.

        Raises:
            EngineError: The step failed. After a PartialFailure the new state contains the resource as it is.

        """
        try:
            return self._act(step, deleting)
        finally:
            if step.new is not None and step.op is not Op.REPLACE:
                self._mark_secrets(step.new, step.old)

    def _act(self, step: Step, deleting: Collection[str]) -> Op:
        actions: dict[Op, Callable[[Step], None]] = {
            Op.SAME: self._same,
            Op.CREATE: self._create,
            Op.CREATE_REPLACEMENT: self._create,
            Op.UPDATE: self._update,
            Op.READ: self._read,
            Op.READ_REPLACEMENT: self._read,
            Op.IMPORT: self._import,
            Op.IMPORT_REPLACEMENT: self._import,
        }
        if step.op in _DELETES:
            self._delete(step, deleting)
        elif step.op is Op.REFRESH:
            return self._refresh(step)
        elif step.op in actions:
            actions[step.op](step)
        return step.op

    def _same(self, step: Step) -> None:
        if step.untargeted:
            # A new resource that was left out has no old state and no id.
            step.resource.id = step.old.id if step.old else ""
            return
        old, new = _both(step)
        new.id, new.outputs = old.id, old.outputs
        new.created, new.modified = old.created, old.modified
        new.init_errors = []
        if new.is_provider:
            configured = new.copy()
            configured.inputs = old.inputs
            self._registry.keep(configured)

    def _create(self, step: Step) -> None:
        new = step.resource
        try:
            if new.is_provider:
                new.id, new.outputs = self._registry.create(new.urn, new.inputs, self._dry_run)
            elif new.custom:
                timeout = new.custom_timeouts.get("create", 0.0)
                provider = self._registry.get(new.provider)
                new.id, new.outputs = provider.create(new.urn, new.inputs, timeout, self._dry_run)
        except PartialFailure as failure:
            new.id, new.outputs, new.init_errors = failure.id, failure.outputs, failure.reasons
            self._finish_create(step)
            raise
        self._finish_create(step)

    @staticmethod
    def _finish_create(step: Step) -> None:
        new = step.resource
        new.created = new.modified = now()
        # An old resource with a pending replacement was deleted by an earlier update.
        if step.pending_delete and step.old is not None and not step.old.pending_replacement:
            step.old.delete = True

    def _update(self, step: Step) -> None:
        old, new = _both(step)
        new.id, new.created, new.modified = old.id, old.created, old.modified
        if new.is_provider:
            new.outputs = self._registry.update(old, new.inputs)
            new.modified = now()
        elif new.custom:
            self._update_custom(step, old, new)

    def _update_custom(self, step: Step, old: ResourceState, new: ResourceState) -> None:
        timeout = new.custom_timeouts.get("update", 0.0)
        provider = self._registry.get(new.provider)
        try:
            outputs = provider.update(new.urn, old, new.inputs, timeout, step.ignore_changes, self._dry_run)
        except PartialFailure as failure:
            new.outputs, new.init_errors = failure.outputs, failure.reasons
            new.modified = now()
            raise
        new.modified = now()
        new.outputs = outputs

    def _mark_secrets(self, new: ResourceState, old: ResourceState | None = None) -> None:
        if "id" in new.additional_secret_outputs:
            text = "The 'id' property cannot be made secret. See pulumi/pulumi#2717 for more details."
            self._say(new.urn, Severity.WARNING, text)
        hidden = {key for key, value in new.inputs.items() if isinstance(value, Secret)}
        hidden = hidden.union(new.additional_secret_outputs) - {"id"}
        plain = {key: value for key, value in new.outputs.items() if key in hidden and not isinstance(value, Secret)}
        if plain:
            # Not in place: a state's document notices only a field that is set.
            marked = new.outputs | {key: Secret(value) for key, value in plain.items()}
            if old is not None and old.outputs is new.outputs:
                # An unchanged resource: the display must not show the values of its old state either.
                old.outputs = marked
            new.outputs = marked

    def _delete(self, step: Step, deleting: Collection[str]) -> None:
        old = step.resource
        if step.op is Op.DELETE and old.protect:
            raise Protected(
                f'resource "{old.urn}" cannot be deleted\nbecause it is protected. To unprotect the resource, '
                "either remove the `protect` flag from the resource in your Pulumi program and run "
                f"`pulumi-embedded up`, or use the command:\n`pulumi-embedded state unprotect '{old.urn}'`"
            )
        kept = old.external or old.retain_on_delete or old.deleted_with in deleting or not old.custom
        if not self._dry_run and not kept and not old.is_provider:
            self._registry.get(old.provider).delete(old)
        if step.pending_replacement:
            old.pending_replacement = True

    def _read(self, step: Step) -> None:
        new = step.resource
        # The request contains the program's inputs as outputs too.
        request = new.copy()
        request.outputs = new.inputs
        failure = None
        try:
            reading = self._registry.get(new.provider).read(request)
        except PartialFailure as error:
            failure, reading = error, ReadResult(error.id, error.outputs)
            new.init_errors = error.reasons
        if not reading.id and not self._dry_run:
            raise EngineError(f"resource '{new.id}' does not exist")
        new.id, new.outputs = reading.id or new.id, reading.outputs
        old = step.old
        if old is not None:
            new.created, new.modified = old.created, old.modified
            if not (equal(old.inputs, new.inputs) and equal(old.outputs, new.outputs)):
                new.modified = now()
            if step.pending_delete:
                old.delete = True
        if failure is not None:
            raise failure

    def _import(self, step: Step) -> None:
        new = step.resource
        if new.is_provider:
            raise EngineError("provider resources may not be read")
        provider = self._registry.get(new.provider)
        try:
            reading = provider.import_(new.urn, new.import_id, new.custom_timeouts.get("read", 0.0))
        except PartialFailure as failure:
            reading = ReadResult(failure.id, failure.outputs, failure.inputs)
            new.init_errors = failure.reasons
        if not reading.id:
            raise EngineError(f"resource '{new.import_id}' does not exist")
        if reading.inputs is None:
            package = provider_package(new.type)
            raise EngineError(
                f"provider does not support importing resources; please try updating the '{package}' plugin"
            )
        new.id, new.inputs, new.outputs = reading.id, reading.inputs, reading.outputs
        new.created = new.modified = now()
        step.old = new.copy()
        if step.replaced is not None:
            step.replaced.delete = True

    def _refresh(self, step: Step) -> Op:
        old = step.resource
        if not old.custom or old.is_provider or old.pending_replacement:
            return Op.SAME
        provider = self._registry.get(old.provider)
        try:
            reading = provider.read(old)
            reasons: list[str] = []
            id_, outputs, inputs = reading.id, reading.outputs, reading.inputs
        except PartialFailure as failure:
            id_, outputs, inputs, reasons = failure.id, failure.outputs, failure.inputs, failure.reasons
            unhealthy = "".join(f"\n* {reason}" for reason in reasons)
            self._say(old.urn, Severity.WARNING, f"Refreshed resource is in an unhealthy state:{unhealthy}")
        if not id_:
            step.new = None
            return Op.DELETE
        new = old.copy()
        new.id, new.init_errors = id_, reasons
        new.inputs = old.inputs if inputs is None else inputs
        new.outputs = outputs
        step.new = new
        if not (equal(unwrap(old.outputs), unwrap(new.outputs)) and equal(unwrap(old.inputs), unwrap(new.inputs))):
            new.modified = now()
        if old.external:
            changed = not equal(unwrap(old.outputs), unwrap(new.outputs))
            return Op.UPDATE if changed else Op.SAME
        # The difference that the next update of the unchanged program would find, in the other direction.
        diff = provider.diff(new.urn, new, old.inputs, old.ignore_changes)
        if diff.changes is None:
            news = ignoring(self._say, old.urn, old.ignore_changes, old.inputs, new.inputs)
            diff = known_diff(diff, new.inputs, news)
        diff = invert(diff)
        step.diffs, step.detailed_diff = diff.changed, diff.detailed
        return Op.UPDATE if diff.changes else Op.SAME


def _both(step: Step) -> tuple[ResourceState, ResourceState]:
    assert step.old is not None and step.new is not None  # noqa: S101 - these steps have both
    return step.old, step.new
