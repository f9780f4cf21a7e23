"""The state during an operation. At every moment the file contains what was done and what has begun."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import equal
from pulumi_embedded.model.graph import with_new_names
from pulumi_embedded.model.state import PendingOperation, ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.storage.checkpoint import Snapshot

__all__ = ["Journal"]

_PENDING = {
    Op.CREATE: "creating",
    Op.CREATE_REPLACEMENT: "creating",
    Op.UPDATE: "updating",
    Op.DELETE: "deleting",
    Op.DELETE_REPLACED: "deleting",
    Op.READ: "reading",
    Op.READ_REPLACEMENT: "reading",
    Op.IMPORT: "importing",
    Op.IMPORT_REPLACEMENT: "importing",
}

_CHANGING = {"creating", "updating", "deleting"}
# Repeating these has the same result.
_REPEATABLE = {"updating", "deleting", "reading"}


class Journal:
    """Merges the operation's results into the previous state. Writes it after the beginning and the end of each step.

    New states come first, in the order of their completion, followed by the old states that did not change.
    """

    def __init__(self, base: Snapshot, write: Callable[[Snapshot], None] | None) -> None:
        self._base = base
        self._write = write
        # One lock for the data, which is never held during a write, and one for the file.
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._changes = self._written = 0
        self._news: list[ResourceState] = []
        self._gone: set[int] = set()
        self._pending: list[PendingOperation] = list(base.pending_operations)
        # Whether a change was not written yet, because it could wait.
        self._unwritten = False

    def begin(self, step: Step) -> None:
        """Record that the step begins, so that a crash leaves it as pending."""
        kind = _PENDING.get(step.op)
        if kind is None:
            return
        resource = step.old if step.op in (Op.DELETE, Op.DELETE_REPLACED) else step.new
        assert resource is not None  # noqa: S101 - these steps have that state
        operation = PendingOperation(resource, kind)
        with self._lock:
            self._pending.append(operation)
        try:
            self.write()
        except EngineError:
            # The step does not begin then, so the state must not contain it as pending.
            with self._lock:
                self._pending = [other for other in self._pending if other is not operation]
            with suppress(EngineError):
                self.write()
            raise

    def end(self, step: Step, *, done: bool) -> None:
        """Record the step's result. A failed step leaves the state unchanged."""
        with self._lock:
            touched = {id(step.old), id(step.new)}
            self._pending = [operation for operation in self._pending if id(operation.resource) not in touched]
            if done:
                self._settle(step)
                self._record(step)
            waits = step.op is Op.SAME and not _is_news(step)
            self._unwritten = self._unwritten or waits
        if not waits and step.op not in (Op.REFRESH, Op.REPLACE):
            self.write()

    def _settle(self, step: Step) -> None:
        """Drop the resource's pending operations of earlier runs. Only a pending create can leave another resource."""
        if _PENDING.get(step.op) not in _REPEATABLE:
            return
        resource = step.old or step.resource

        def settled(pending: PendingOperation) -> bool:
            return (
                pending.type in _REPEATABLE
                and pending.resource.urn == resource.urn
                and pending.resource.id in ("", resource.id)
            )

        self._pending = [pending for pending in self._pending if not settled(pending)]

    def leave(self, step: Step) -> None:
        """Record that the step's result is not known. If it can have changed something, it stays pending."""
        if _PENDING.get(step.op) not in _CHANGING or not step.resource.custom or step.resource.is_provider:
            self.end(step, done=False)

    def _record(self, step: Step) -> None:
        old, new = step.old, step.new
        if step.op in (Op.REPLACE, Op.REFRESH) or step.left_out:
            return
        replacing = step.op in (Op.CREATE_REPLACEMENT, Op.DELETE_REPLACED, Op.READ_REPLACEMENT)
        if old is not None and not step.op.imports and (not replacing or self._finishes_replacement(step, old)):
            self._gone.add(id(old))
        if new is not None:
            self._news.append(new)

    @staticmethod
    def _finishes_replacement(step: Step, old: ResourceState) -> bool:
        if step.op is Op.DELETE_REPLACED:
            return not old.pending_replacement
        return old.pending_replacement

    def rebase(self, resources: list[ResourceState]) -> None:
        """Begin with the resources that a refresh found."""
        with self._lock:
            self._base = replace(self._base, resources=resources)
        self.write()

    def drop_pending(self, keep: Callable[[PendingOperation], bool]) -> None:
        """Drop the interrupted operations of earlier runs, except those that `keep` selects."""
        with self._lock:
            kept = [operation for operation in self._base.pending_operations if keep(operation)]
            self._base = replace(self._base, pending_operations=kept)
            self._pending = list(kept)

    def changed(self) -> None:
        """Record that a state in the journal was changed in place."""
        self.write()

    def write(self) -> None:
        """Write the snapshot, if the operation writes at all. Return when the file has all that was known at the call.

        Threads that arrive during a write share the next one.
        """
        with self._lock:
            self._changes += 1
            change = self._changes
        with self._writing:
            if self._written >= change:
                return
            with self._lock:
                self._unwritten = False
                held, snapshot = self._changes, self.snapshot()
            if self._write is not None:
                self._write(snapshot)
            self._written = held

    def close(self) -> None:
        """Write changes that were not written yet."""
        if self._unwritten:
            self.write()

    def snapshot(self) -> Snapshot:
        """Return the stack as it is now."""
        with self._lock:
            news = [resource for resource in self._news if id(resource) not in self._gone]
            known = {id(resource) for resource in news}
            rest = [
                resource
                for resource in self._base.resources
                if id(resource) not in self._gone and id(resource) not in known
            ]
            resources = with_new_names([*news, *rest])
            return replace(self._base, resources=resources, pending_operations=list(self._pending))


# Fields of an unchanged resource whose change is written at once. Others wait (Pulumi CLI 3.260: mustWrite).
_PERSISTENT = (
    "urn", "type", "custom", "retain_on_delete", "provider", "parent", "deleted_with", "replace_with", "protect",
    "inputs", "outputs", "additional_secret_outputs",
)  # fmt: skip


def _is_news(step: Step) -> bool:
    """Return whether an unchanged resource still differs in the state, so that a crash must not lose it."""
    old, new = step.old, step.new
    if old is None or new is None:
        return False
    changed = any(not equal(getattr(old, name), getattr(new, name)) for name in _PERSISTENT)
    return changed or sorted(old.dependencies) != sorted(new.dependencies)
