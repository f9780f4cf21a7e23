"""What a provider answers, as values: check failures, diffs, reads, and the failures that leave something behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from pulumi_embedded.errors import EngineError
from pulumi_embedded.state import ResourceState
from pulumi_embedded.steps import Diff, DiffKind, PropertyDiff
from pulumi_embedded.urns import urn_name
from pulumi_embedded.values import Properties, from_struct, plain

__all__ = [
    "CheckFailure",
    "DiffUnavailable",
    "PartialFailure",
    "ProviderError",
    "ReadResult",
    "check_message",
    "diff_from",
    "partial_failure",
]


class ProviderError(EngineError):
    """The provider refused or failed; the message is its own."""


class PartialFailure(ProviderError):
    """The provider made or changed the resource and it is not healthy: the state must keep what is there."""

    def __init__(self, id_: str, outputs: Properties, inputs: Properties | None, reasons: list[str]) -> None:
        super().__init__(f"{len(reasons)} error{'s' if len(reasons) != 1 else ''} occurred:\n" + _bullets(reasons))
        self.id = id_
        self.outputs = outputs
        self.inputs = inputs
        self.reasons = reasons


def _bullets(reasons: list[str]) -> str:
    return "".join(f"\t* {reason}\n" for reason in reasons) + "\n"


def check_message(new: ResourceState, failure: CheckFailure, inputs: Properties) -> str:
    """The failure as the Pulumi CLI words it (3.260)."""
    where = f"{new.type} resource '{urn_name(new.urn)}'"
    if not failure.property:
        return f"{where} has a problem: {failure.reason}"
    value = "{" + str(plain(inputs.get(failure.property))) + "}"
    return f"{where}: property {failure.property} value {value} has a problem: {failure.reason}"


class DiffUnavailable(EngineError):
    """The provider's configuration is unknown in this preview, so it cannot compare."""


@dataclass(frozen=True)
class CheckFailure:
    """An input that the provider does not take, and why."""

    property: str
    reason: str


@dataclass(frozen=True)
class ReadResult:
    """What the provider found: no id where the resource is gone, inputs only where it can tell them."""

    id: str
    outputs: Properties = field(default_factory=dict)
    inputs: Properties | None = None


def partial_failure(error: grpc.RpcError) -> PartialFailure | None:
    """The failure of a resource that was made and is not healthy, whose details gRPC carries beside the message."""
    metadata: Any = error.trailing_metadata() or ()
    packed = dict(metadata).get("grpc-status-details-bin")
    if packed is None:
        return None
    status = status_pb2.Status.FromString(packed)
    for detail in status.details:
        failed = provider_pb2.ErrorResourceInitFailed()
        if isinstance(detail, any_pb2.Any) and detail.Unpack(failed):
            inputs = from_struct(failed.inputs) if failed.HasField("inputs") else None
            return PartialFailure(failed.id, from_struct(failed.properties), inputs, list(failed.reasons))
    return None


_KINDS = {
    provider_pb2.PropertyDiff.ADD: DiffKind.ADD,
    provider_pb2.PropertyDiff.ADD_REPLACE: DiffKind.ADD_REPLACE,
    provider_pb2.PropertyDiff.DELETE: DiffKind.DELETE,
    provider_pb2.PropertyDiff.DELETE_REPLACE: DiffKind.DELETE_REPLACE,
    provider_pb2.PropertyDiff.UPDATE: DiffKind.UPDATE,
    provider_pb2.PropertyDiff.UPDATE_REPLACE: DiffKind.UPDATE_REPLACE,
}


def diff_from(response: provider_pb2.DiffResponse) -> Diff:
    """The diff in a provider's answer."""
    detailed = None
    if response.hasDetailedDiff:
        detailed = {
            key: PropertyDiff(_KINDS.get(each.kind, DiffKind.UPDATE), each.inputDiff)
            for key, each in response.detailedDiff.items()
        }
    changes = {
        provider_pb2.DiffResponse.DIFF_NONE: False,
        provider_pb2.DiffResponse.DIFF_SOME: True,
    }.get(response.changes)
    return Diff(changes, tuple(response.replaces), tuple(response.diffs), detailed, response.deleteBeforeReplace)
