"""The state while an operation runs: at every moment the file says what has been done, and what was begun."""

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
# Done again they come to the same.
_REPEATABLE = {"updating", "deleting", "reading"}


class Journal:
    """Merges what this operation did into what the state held before; writes after every begin and end of a step.

    New states come first, in the order in which they were finished, then those of the old that were not touched.
    """

    def __init__(self, base: Snapshot, write: Callable[[Snapshot], None] | None) -> None:
        self._base = base
        self._write = write
        # For what is known, which no write is waited for with, and for the file.
        self._lock = threading.RLock()
        self._writing = threading.Lock()
        self._changes = self._written = 0
        self._news: list[ResourceState] = []
        self._gone: set[int] = set()
        self._pending: list[PendingOperation] = list(base.pending_operations)
        # Whether there is a change that could wait.
        self._unwritten = False

    def begin(self, step: Step) -> None:
        """Record that the step is under way, so that a crash leaves a trace of it."""
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
            # It is not begun then, and where the state went instead must not say so.
            with self._lock:
                self._pending = [other for other in self._pending if other is not operation]
            with suppress(EngineError):
                self.write()
            raise

    def end(self, step: Step, *, done: bool) -> None:
        """Record the step's result; one that failed leaves the state as it was."""
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
        """What an earlier operation began on the resource matters no more; only a create may have left another one."""
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
        """Record that nobody knows what came of the step: where it may have changed something, it stays pending."""
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
        """Take the resources that a refresh found as the ones to start from."""
        with self._lock:
            self._base = replace(self._base, resources=resources)
        self.write()

    def drop_pending(self, keep: Callable[[PendingOperation], bool]) -> None:
        """Forget the interrupted operations of earlier runs that are not to be kept."""
        with self._lock:
            kept = [operation for operation in self._base.pending_operations if keep(operation)]
            self._base = replace(self._base, pending_operations=kept)
            self._pending = list(kept)

    def changed(self) -> None:
        """Record that a state which is already in the journal was changed in place."""
        self.write()

    def write(self) -> None:
        """Write the present snapshot, if this operation writes at all; return when the file holds what was known.

        One write does for all threads that came while another one wrote.
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
        """Write what could wait until the operation is over."""
        if self._unwritten:
            self.write()

    def snapshot(self) -> Snapshot:
        """The stack as it is now."""
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


# Of an unchanged resource, these are written at once, the rest with the next write (Pulumi CLI 3.260: mustWrite).
_PERSISTENT = (
    "urn", "type", "custom", "retain_on_delete", "provider", "parent", "deleted_with", "replace_with", "protect",
    "inputs", "outputs", "additional_secret_outputs",
)  # fmt: skip


def _is_news(step: Step) -> bool:
    """Whether an unchanged resource differs in the state all the same, so that the next crash must not lose it."""
    old, new = step.old, step.new
    if old is None or new is None:
        return False
    changed = any(not equal(getattr(old, name), getattr(new, name)) for name in _PERSISTENT)
    return changed or sorted(old.dependencies) != sorted(new.dependencies)
