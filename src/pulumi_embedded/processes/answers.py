"""A provider's answers as values: check failures, diffs, reads, and errors that leave a changed resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, struct_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff, DiffKind, PropertyDiff
from pulumi_embedded.model.urns import urn_name
from pulumi_embedded.model.values import Properties, contains_unknowns, from_struct, plain

__all__ = [
    "CheckFailure",
    "DiffUnavailable",
    "NoAnswer",
    "PartialFailure",
    "ProviderError",
    "ReadResult",
    "check_message",
    "diff_from",
    "error_from",
    "values_from",
]


class ProviderError(EngineError):
    """The provider rejected a call or failed. The message is the provider's.

    Attributes:
        unknown: Whether it is not known what the provider did. Its gRPC code says so (Pulumi CLI 3.260).

    """

    unknown = False


class NoAnswer(ProviderError):
    """The provider was called, and it is not known whether it acted."""

    unknown = True


class PartialFailure(ProviderError):
    """The provider created or changed the resource, which is not healthy. The state must keep the resource.

    Attributes:
        id: The id of the resource.
        outputs: Its outputs.
        inputs: Its inputs. None if the provider did not return them.
        reasons: Why it is not healthy.

    """

    def __init__(self, id_: str, outputs: Properties, inputs: Properties | None, reasons: list[str]) -> None:
        super().__init__(f"{len(reasons)} error{'s' if len(reasons) != 1 else ''} occurred:\n" + _bullets(reasons))
        self.id = id_
        self.outputs = outputs
        self.inputs = inputs
        self.reasons = reasons


def _bullets(reasons: list[str]) -> str:
    return "".join(f"\t* {reason}\n" for reason in reasons) + "\n"


def check_message(new: ResourceState, failure: CheckFailure, inputs: Properties) -> str:
    """Return the failure in the Pulumi CLI's words (3.260)."""
    where = f"{new.type} resource '{urn_name(new.urn)}'"
    if not failure.property:
        return f"{where} has a problem: {failure.reason}"
    value = "{" + str(plain(inputs.get(failure.property))) + "}"
    return f"{where}: property {failure.property} value {value} has a problem: {failure.reason}"


class DiffUnavailable(EngineError):
    """The provider cannot compare, because its configuration is unknown in this preview."""


@dataclass(frozen=True)
class CheckFailure:
    """An input that the provider rejects, with the reason."""

    property: str
    reason: str


@dataclass(frozen=True)
class ReadResult:
    """The result of a read. `id` is empty if the resource is gone. `inputs` is None if they are not known."""

    id: str
    outputs: Properties = field(default_factory=dict)
    inputs: Properties | None = None


def _partial_failure(error: grpc.RpcError) -> PartialFailure | None:
    """Return the failure of an unhealthy resource, from the details of a gRPC error. None if there is none."""
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


_UNKNOWN = (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS)


def error_from(error: grpc.RpcError, package: str, ended: Callable[[], str | None]) -> ProviderError:
    """Return the error for a failed call.

    Args:
        error: The gRPC error.
        package: The package of the plugin.
        ended: Returns how the plugin's process ended. None if it runs.

    """
    plugin, details = f"the plugin of {package}", str(error.details())
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return NoAnswer(f"{plugin} {ended() or f'does not answer ({details})'} during the call")
    if (error.code(), details) == (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"):
        return NoAnswer(f"{plugin} did not answer in time")
    # gRPC's own messages about an answer that it cannot read.
    if details.startswith(("Exception deserializing response", "Stream removed", "CLIENT: ")):
        return NoAnswer(f"{plugin} gave an answer that cannot be read ({details})")
    failure = _partial_failure(error) or ProviderError(details)
    failure.unknown = error.code() in _UNKNOWN
    return failure


def values_from(struct: struct_pb2.Struct, package: str, *, known: bool) -> Properties:
    """Return the properties in an answer.

    Args:
        struct: The answer.
        package: The package of the plugin.
        known: Whether an unknown value is an error.

    Raises:
        NoAnswer: The answer has no valid properties.

    """
    plugin = f"the plugin of {package} gave an answer that cannot be used"
    try:
        values = from_struct(struct)
    except EngineError as error:
        raise NoAnswer(f"{plugin}: {error}") from None
    unknown = [key for key, value in values.items() if known and contains_unknowns(value)]
    if unknown:
        raise NoAnswer(f"{plugin}: {unknown[0]} is unknown")
    return values


_KINDS = {
    provider_pb2.PropertyDiff.ADD: DiffKind.ADD,
    provider_pb2.PropertyDiff.ADD_REPLACE: DiffKind.ADD_REPLACE,
    provider_pb2.PropertyDiff.DELETE: DiffKind.DELETE,
    provider_pb2.PropertyDiff.DELETE_REPLACE: DiffKind.DELETE_REPLACE,
    provider_pb2.PropertyDiff.UPDATE: DiffKind.UPDATE,
    provider_pb2.PropertyDiff.UPDATE_REPLACE: DiffKind.UPDATE_REPLACE,
}


def diff_from(response: provider_pb2.DiffResponse) -> Diff:
    """Return the diff in a provider's answer."""
    detailed = None
    if response.hasDetailedDiff:
        detailed = {
            key: PropertyDiff(_KINDS.get(difference.kind, DiffKind.UPDATE), difference.inputDiff)
            for key, difference in response.detailedDiff.items()
        }
    changes = {
        provider_pb2.DiffResponse.DIFF_NONE: False,
        provider_pb2.DiffResponse.DIFF_SOME: True,
    }.get(response.changes)
    return Diff(changes, tuple(response.replaces), tuple(response.diffs), detailed, response.deleteBeforeReplace)
