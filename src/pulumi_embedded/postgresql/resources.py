"""The steps of a resource's life: planned, carried out by its kind, and put into outputs."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from pulumi_embedded.postgresql.connection import Server
from pulumi_embedded.postgresql.diff import difference
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.functions import Function
from pulumi_embedded.postgresql.kind import Kind
from pulumi_embedded.postgresql.outputs import applied, outputs, refreshed_inputs
from pulumi_embedded.postgresql.properties import Change, Values, plan
from pulumi_embedded.values import UNKNOWN

__all__ = ["FailedUpdate", "Reading", "Resources", "preview_creation", "preview_update", "refuse_replacement"]


class FailedUpdate(ProviderError):
    """An update failed; `outputs` are those that it was to have, and the next update starts from them."""

    def __init__(self, reason: str, outputs: Values):
        super().__init__(reason)
        self.outputs = outputs


@dataclass(frozen=True)
class Reading:
    """A resource as the server has it."""

    id: str
    inputs: Values
    outputs: Values


class Resources:
    """Steps on one server; one changes it at a time, because PostgreSQL lets concurrent changes of rights fail.

    (terraform-provider-postgresql issue 178: "tuple concurrently updated", "deadlock detected".)
    """

    def __init__(self, server: Server):
        self._server = server
        self._one_change = threading.Lock()

    def cancel(self) -> None:
        """Ends what is running and refuses what comes later."""
        self._server.cancel()

    def create(self, kind: Kind, inputs: Values) -> tuple[str, Values]:
        """The new resource's id and outputs."""
        planned = plan(kind.schema, None, inputs)
        with self._one_change, self._server.session() as session:
            found = kind.create(session, Change(kind.schema, {}, planned, inputs))
        return found.id, outputs(kind.schema, found.id, applied(kind.schema, planned, found.values))

    def read(self, kind: Kind, resource_id: str, inputs: Values, state: Values) -> Reading | None:
        """The resource as it is now, or None where it is gone; without `inputs` and `state` it is an import."""
        with self._server.session() as session:
            found = kind.read(session, resource_id, Change(kind.schema, state, state))
        if found is None:
            return None
        values = {name: found.values.get(name, state.get(name)) for name in kind.schema}
        given = refreshed_inputs(kind.schema, inputs, values)
        return Reading(found.id, given, outputs(kind.schema, found.id, values))

    def update(self, kind: Kind, resource_id: str, state: Values, inputs: Values, ignored: list[str]) -> Values:
        """The outputs after the change; FailedUpdate where it fails."""
        planned = plan(kind.schema, state, inputs, ignored)
        try:
            with self._one_change, self._server.session() as session:
                found = kind.update(session, resource_id, Change(kind.schema, state, planned, inputs))
        except ProviderError as error:
            raise FailedUpdate(str(error), outputs(kind.schema, resource_id, planned)) from None
        return outputs(kind.schema, found.id, applied(kind.schema, planned, found.values))

    def call(self, function: Function, arguments: Values) -> Values:
        """What a function finds in its database."""
        with self._server.session() as session:
            return function.call(session, arguments)

    def delete(self, kind: Kind, state: Values) -> None:
        """The resource is gone afterwards."""
        with self._one_change, self._server.session() as session:
            kind.delete(session, Change(kind.schema, state, state))


def preview_creation(kind: Kind, inputs: Values) -> Values:
    """The outputs of a creation as far as they are known beforehand."""
    return outputs(kind.schema, UNKNOWN, plan(kind.schema, None, inputs), stored=False)


def preview_update(kind: Kind, resource_id: str, state: Values, inputs: Values, ignored: list[str]) -> Values:
    """The outputs of an update as far as they are known beforehand."""
    return outputs(kind.schema, resource_id, plan(kind.schema, state, inputs, ignored))


def refuse_replacement(kind: Kind, urn: str, state: Values, inputs: Values, ignored: list[str]) -> None:
    """Raises ProviderError for an update that only a replacement can do."""
    if difference(kind.schema, state, inputs, ignored).replaces:
        raise ProviderError(
            f"internal: expected diff to not require deletion or replacement during Update of {urn}. "
            "Found delete=false, replace=true. This indicates a bug in provider."
        )
