"""The steps of a resource's life: plan them, run them by its kind, and return outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pulumi_embedded.model.values import UNKNOWN
from pulumi_embedded.postgresql.connection import Server, Session
from pulumi_embedded.postgresql.diff import Difference, difference
from pulumi_embedded.postgresql.errors import ConnectionLost, ProviderError
from pulumi_embedded.postgresql.functions import Function
from pulumi_embedded.postgresql.kind import Found, Kind
from pulumi_embedded.postgresql.outputs import applied, outputs, refreshed_inputs
from pulumi_embedded.postgresql.properties import Change, Property, Values, plan, without_doubtful

__all__ = [
    "FailedUpdate",
    "Reading",
    "Resources",
    "Step",
    "changes",
    "preview_creation",
    "preview_update",
    "refuse_replacement",
]


class FailedUpdate(ProviderError):
    """An update failed. `outputs` are those on the server, from which the next update starts."""

    def __init__(self, reason: str, outputs: Values):
        super().__init__(reason)
        self.outputs = outputs


@dataclass(frozen=True)
class Reading:
    """A resource on the server."""

    id: str
    inputs: Values
    outputs: Values


@dataclass(frozen=True)
class Step:
    """A change of a resource.

    Attributes:
        state: Its outputs before the step.
        inputs: Its new inputs.
        old_inputs: Its inputs before the step.
        ignored: The properties whose changes are ignored.

    """

    state: Values
    inputs: Values
    old_inputs: Values = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


class Resources:
    """Steps on one server. One step changes it at a time, because PostgreSQL lets concurrent changes of rights fail.

    (terraform-provider-postgresql issue 178: "tuple concurrently updated", "deadlock detected".)
    """

    def __init__(self, server: Server, warn: Callable[[str, str], None] = lambda urn, text: None):
        """Use a server. `warn` receives a resource's URN and the text of a warning of the server."""
        self._server, self._warn = server, warn
        self._one_change = threading.Lock()

    def cancel(self) -> None:
        """End running calls, and reject later ones."""
        self._server.cancel()

    @contextmanager
    def _changing(self, urn: str) -> Iterator[Session]:
        """Open a session in which one resource is changed, and no other at the same time."""
        with self._one_change, self._server.session() as session:
            try:
                yield session
            finally:
                for _, text in session.warnings:
                    self._warn(urn, text)

    def create(self, kind: Kind, urn: str, inputs: Values) -> tuple[str, Values]:
        """Create the resource, and return its id and outputs."""
        planned = plan(kind.schema, None, inputs)
        change = Change(kind.schema, {}, planned, inputs)
        with self._changing(urn) as session:
            try:
                row = kind.create(session, change)
            except ConnectionLost as lost:
                row = _after(lost, session, lambda: kind.creation(session, change))
        return row.id, outputs(kind.schema, row.id, _result(kind, session, planned, row))

    def read(self, kind: Kind, resource_id: str, inputs: Values, state: Values) -> Reading | None:
        """Return the resource as it is now. None if it is gone. Without `inputs` and `state` it is an import."""
        state = without_doubtful(kind.schema, kind.identified(resource_id, state), inputs)
        with self._server.session() as session:
            row = kind.read(session, resource_id, Change(kind.schema, state, state))
        if row is None:
            return None
        values = {name: row.values.get(name, state.get(name)) for name in kind.schema}
        given = refreshed_inputs(kind.schema, inputs, values)
        return Reading(row.id, given, outputs(kind.schema, row.id, values))

    def update(self, kind: Kind, urn: str, resource_id: str, step: Step) -> Values:
        """Return the outputs after the change. Raises FailedUpdate if it fails."""
        state = _known(kind, resource_id, step)
        planned = plan(kind.schema, state, step.inputs, step.ignored)
        with self._changing(urn) as session:
            if not difference(kind.schema, state, step.inputs, step.ignored).paths:
                # This happens only after a failed update, whose goal the state can contain.
                now = kind.read(session, resource_id, Change(kind.schema, state, state))
                state = state | (now.values if now else {})
            try:
                row = kind.update(session, resource_id, Change(kind.schema, state, planned, step.inputs))
            except ProviderError as error:
                left = _left(kind, session, resource_id, state, isinstance(error, ConnectionLost))
                raise FailedUpdate(str(error), _failed(kind, resource_id, state, planned, left)) from None
        return outputs(kind.schema, row.id, _result(kind, session, planned, row))

    def call(self, function: Function, arguments: Values) -> Values:
        """Return what a function finds in its database."""
        with self._server.session() as session:
            return function.call(session, arguments)

    def delete(self, kind: Kind, urn: str, resource_id: str, state: Values) -> None:
        """Delete the resource."""
        state = kind.identified(resource_id, state)
        change = Change(kind.schema, state, state)
        with self._changing(urn) as session:
            try:
                kind.delete(session, change)
            except ConnectionLost as lost:
                _after(lost, session, lambda: kind.deletion(session, resource_id, change) or None)


def _result(kind: Kind, session: Session, planned: Values, found: Found) -> Values:
    """Return the values after a step. After a warning, only values that were read count as done."""
    return applied(kind.schema, planned, found.values) | (found.values if session.warnings else {})


T = TypeVar("T")


def _after(lost: ConnectionLost, session: Session, ask: Callable[[], T | None]) -> T:
    """Return what `ask` finds after a step whose answer was lost. Raises `lost` if it finds nothing or fails."""
    with suppress(ProviderError):
        session.settle()
        if (answer := ask()) is not None:
            return answer
    raise lost


def _left(kind: Kind, session: Session, resource_id: str, state: Values, lost: bool) -> Found | None:
    """Return the resource after a failed update. None if it is gone, or the server cannot be read."""
    with suppress(ProviderError):
        if lost:
            session.settle()
        return kind.left(session, resource_id, Change(kind.schema, state, state))
    return None


def _failed(kind: Kind, resource_id: str, state: Values, planned: Values, left: Found | None) -> Values:
    """Return the outputs after a failed update: the server's, and null for changed properties that cannot be read."""
    observed = {} if left is None else left.values
    values = {name: _observed(prop, state.get(name), observed.get(name)) for name, prop in kind.schema.items()}
    unknown = [name for name, prop in kind.schema.items() if prop.unread and planned[name] != state.get(name)]
    return outputs(kind.schema, left.id if left else resource_id, values | dict.fromkeys(unknown))


def _observed(prop: Property, before: Any, now: Any) -> Any:
    """Return the observed value. An unset collection is not read as empty, so that the state keeps it unset."""
    return before if now is None or (prop.type.collection and before is None and now == []) else now


def _known(kind: Kind, resource_id: str, step: Step) -> Values:
    return without_doubtful(kind.schema, kind.identified(resource_id, step.state), step.old_inputs)


def preview_creation(kind: Kind, inputs: Values) -> Values:
    """Return the known outputs of a creation."""
    return outputs(kind.schema, UNKNOWN, plan(kind.schema, None, inputs), stored=False)


def changes(kind: Kind, resource_id: str, step: Step) -> Difference:
    """Return what an update would change."""
    return difference(kind.schema, _known(kind, resource_id, step), step.inputs, step.ignored)


def preview_update(kind: Kind, resource_id: str, step: Step) -> Values:
    """Return the known outputs of an update."""
    planned = plan(kind.schema, _known(kind, resource_id, step), step.inputs, step.ignored)
    return outputs(kind.schema, resource_id, planned)


def refuse_replacement(kind: Kind, urn: str, step: Step) -> None:
    """Raise ProviderError for an update that requires a replacement."""
    if difference(kind.schema, step.state, step.inputs, step.ignored).replaces:
        raise ProviderError(
            f"internal: expected diff to not require deletion or replacement during Update of {urn}. "
            "Found delete=false, replace=true. This indicates a bug in provider."
        )
