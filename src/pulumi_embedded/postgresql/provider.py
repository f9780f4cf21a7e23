"""The plugin's servicer, which passes Pulumi's ResourceProvider calls to the kinds of resources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from pulumi_embedded.model.values import UNKNOWN, from_struct, to_struct, unwrap
from pulumi_embedded.postgresql.check import check, generated_name
from pulumi_embedded.postgresql.configuration import check_configuration, configuration
from pulumi_embedded.postgresql.connection import Server
from pulumi_embedded.postgresql.database import Database
from pulumi_embedded.postgresql.default_privileges import DefaultPrivileges
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.extension import Extension
from pulumi_embedded.postgresql.functions import FUNCTIONS
from pulumi_embedded.postgresql.grant import Grant
from pulumi_embedded.postgresql.grant_role import GrantRole
from pulumi_embedded.postgresql.kind import Kind
from pulumi_embedded.postgresql.resources import (
    FailedUpdate,
    Resources,
    Step,
    changes,
    preview_creation,
    preview_update,
    refuse_replacement,
)
from pulumi_embedded.postgresql.role import Role
from pulumi_embedded.postgresql.schema import SchemaKind

__all__ = ["FOREIGN", "KINDS", "VERSION", "PostgresqlProvider"]

KINDS: dict[str, Kind] = {
    kind.token: kind
    for kind in (Database(), DefaultPrivileges(), Extension(), Grant(), GrantRole(), Role(), SchemaKind())
}

# pulumi-postgresql 3.18.2: by the last part of their token.
FOREIGN = {
    "Function", "PhysicalReplicationSlot", "Publication", "ReplicationSlot", "SecurityLabel", "Server",
    "Subscription", "UserMapping",
}  # fmt: skip


# The version of the real plugin that this one follows, and that the state contains.
VERSION = "3.18.2"

Context = grpc.ServicerContext
_NO_NAME = provider_pb2.CheckRequest.AutonamingOptions.DISABLE


def _values(struct: Any) -> dict[str, Any]:
    values: dict[str, Any] = unwrap(from_struct(struct))
    return values


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    return to_struct(values, secrets=True)


def _step(request: Any) -> Step:
    """Return the step of a Diff or an Update."""
    olds, news, old_inputs = (_values(values) for values in (request.olds, request.news, request.old_inputs))
    return Step(olds, news, old_inputs, list(request.ignoreChanges))


class PostgresqlProvider(provider_pb2_grpc.ResourceProviderServicer):
    """Answers calls from many threads. A failed call returns UNKNOWN with the reason, as in the real plugin."""

    def __init__(self, variables: Mapping[str, str] | None = None, engine: str = "") -> None:
        """Create the servicer.

        Args:
            variables: Variables that complete the configuration. None for those of the environment.
            engine: The address of the engine, which prints the server's warnings. Empty for none.

        """
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine)) if engine else None
        self._variables = os.environ if variables is None else variables
        self._resources: Resources | None = None

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Context) -> plugin_pb2.PluginInfo:  # noqa: N802
        """Return the version of the real plugin that this one replaces."""
        return plugin_pb2.PluginInfo(version=VERSION)

    def CheckConfig(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Return the configuration as strings, with a secret password."""
        with _failing(context):
            inputs, reasons = check_configuration(_values(request.news))
        return _check_response(inputs, reasons)

    def DiffConfig(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Return the changes of the configuration, none of which requires a replacement."""
        olds = _values(request.old_inputs if request.HasField("old_inputs") else request.olds)
        news = _values(request.news)
        changed = sorted(key for key in olds | news if olds.get(key) != news.get(key) and news.get(key) is not UNKNOWN)
        kinds = {key: _config_edit(olds, news, key) for key in changed}
        detailed = {key: provider_pb2.PropertyDiff(kind=kind, inputDiff=True) for key, kind in kinds.items()}
        some = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_UNKNOWN
        return provider_pb2.DiffResponse(changes=some, diffs=changed, detailedDiff=detailed)

    def Configure(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Set the configuration, without connecting."""
        with _failing(context):
            server = Server(configuration(_values(request.args), self._variables))
            self._resources = Resources(server, self._warn)
        return provider_pb2.ConfigureResponse(supportsPreview=True, supports_autonaming_configuration=True)

    def Check(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Return the inputs with their defaults, and every reason for which they are rejected."""
        with _failing(context):
            kind = _kind("Check", request)
        resource, options = request.name or request.urn.rpartition("::")[2], request.autonaming
        name: str | None = generated_name(resource, request.randomSeed, _values(request.olds))
        if request.HasField("autonaming"):
            name = None if options.mode == _NO_NAME else options.proposed_name or name
        return _check_response(*check(kind.schema, resource, _values(request.news), name))

    def Diff(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Return what the inputs would change, and whether that requires a replacement."""
        with _failing(context):
            kind = _kind("Diff", request)
        difference = changes(kind, request.id, _step(request))
        answers = provider_pb2.DiffResponse
        return answers(
            changes=answers.DIFF_SOME if difference.paths else answers.DIFF_NONE,
            diffs=difference.properties,
            replaces=difference.replaces,
            stables=difference.stables,
            deleteBeforeReplace=kind.deletes_first(difference.replaces),
            detailedDiff={path: _property_diff(edit) for path, edit in difference.paths.items()},
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Create the resource. In a preview, return its known outputs."""
        with _failing(context):
            kind, inputs = _kind("Create", request), _values(request.properties)
            if request.preview:
                return provider_pb2.CreateResponse(properties=_struct(preview_creation(kind, inputs)))
            with _one_error():
                resource_id, outputs = self._configured().create(kind, request.urn, inputs)
        return provider_pb2.CreateResponse(id=resource_id, properties=_struct(outputs))

    def Read(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Return the resource on the server. The answer is empty if it is gone."""
        with _failing(context):
            kind, inputs, state = _kind("Read", request), _values(request.inputs), _values(request.properties)
            with _one_error(f"refreshing {request.urn}: "):
                reading = self._configured().read(kind, request.id, inputs, state)
        if reading is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=reading.id, inputs=_struct(reading.inputs), properties=_struct(reading.outputs)
        )

    def Update(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Change the resource in place. An error contains the outputs on the server."""
        with _failing(context):
            kind, step = _kind("Update", request), _step(request)
            refuse_replacement(kind, request.urn, step)
            if request.preview:
                outputs = preview_update(kind, request.id, step)
            else:
                with _one_error(f"updating {request.urn}: "), _partial(context, request):
                    outputs = self._configured().update(kind, request.urn, request.id, step)
        return provider_pb2.UpdateResponse(properties=_struct(outputs))

    def Delete(self, request: Any, context: Context) -> empty_pb2.Empty:  # noqa: N802
        """Delete the resource."""
        with _failing(context):
            kind, state = _kind("Delete", request), _values(request.properties)
            with _one_error(f"deleting {request.urn}: "):
                self._configured().delete(kind, request.urn, request.id, state)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Context) -> Any:  # noqa: N802
        """Return the answer of a function of the plugin."""
        with _failing(context):
            function = FUNCTIONS.get(request.tok)
            if function is None:
                raise ProviderError(f"unrecognized data function (Invoke): {request.tok}")
            arguments = _values(request.args)
            failures = [provider_pb2.CheckFailure(reason=reason) for reason in function.failures(arguments)]
            if failures:
                return provider_pb2.InvokeResponse(failures=failures)
            with _one_error(f"invoking {request.tok}: "):
                answer = self._configured().call(function, arguments)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(_struct(answer))
        return response

    def Cancel(self, request: empty_pb2.Empty, context: Context) -> empty_pb2.Empty:  # noqa: N802
        """End running calls, which are rolled back."""
        if self._resources is not None:
            self._resources.cancel()
        return empty_pb2.Empty()

    def _warn(self, urn: str, text: str) -> None:
        if self._engine is not None:
            severity = engine_pb2.LogSeverity.Value("WARNING")
            # A warning that cannot be printed is no reason to fail.
            with suppress(grpc.RpcError):
                self._engine.Log(engine_pb2.LogRequest(severity=severity, message=text, urn=urn), timeout=5)

    def _configured(self) -> Resources:
        if self._resources is None:
            raise ProviderError("the provider is not configured: the engine must call Configure first")
        return self._resources


def _check_response(inputs: Mapping[str, Any], reasons: list[str]) -> Any:
    failures = [provider_pb2.CheckFailure(reason=reason) for reason in reasons]
    return provider_pb2.CheckResponse(inputs=_struct(inputs) if inputs or not failures else None, failures=failures)


def _property_diff(edit: int) -> provider_pb2.PropertyDiff:
    return provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.Kind.ValueType(edit))


def _config_edit(olds: Mapping[str, Any], news: Mapping[str, Any], key: str) -> Any:
    kinds = provider_pb2.PropertyDiff
    return kinds.ADD if key not in olds else kinds.UPDATE if key in news else kinds.DELETE


def _kind(call: str, request: Any) -> Kind:
    token = request.type or request.urn.split("::")[2].rpartition("$")[2]
    if token not in KINDS:
        raise _unknown(f"unrecognized resource type ({call}): {token}", token)
    return KINDS[token]


def _unknown(reason: str, token: str) -> ProviderError:
    if token.rpartition(":")[2] not in FOREIGN:
        return ProviderError(reason)
    return ProviderError(
        f"the embedded postgresql plugin does not support {token}. Install the Pulumi CLI "
        "(https://www.pulumi.com/docs/install/), whose own plugin supports it, and run `pulumi` instead of "
        "`pulumi-embedded`: it continues with this stack"
    )


@contextmanager
def _failing(context: Context) -> Iterator[None]:
    """Answer the call with the text of a ProviderError."""
    try:
        yield
    except ProviderError as error:
        context.abort(grpc.StatusCode.UNKNOWN, str(error))


@contextmanager
def _one_error(prefix: str = "") -> Iterator[None]:
    """Word an error as the real plugin does, whose libraries collect errors in lists."""
    try:
        yield
    except ProviderError as error:
        raise ProviderError(f"{prefix}1 error occurred:\n\t* {error}\n\n") from None


@contextmanager
def _partial(context: Context, request: Any) -> Iterator[None]:
    """Add the outputs after a failed update to the error, for the engine to record."""
    try:
        yield
    except FailedUpdate as error:
        reason = f"updating {request.urn}: 1 error occurred:\n\t* {error}\n\n"
        detail = any_pb2.Any()
        detail.Pack(
            provider_pb2.ErrorResourceInitFailed(id=request.id, properties=_struct(error.outputs), reasons=[reason])
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason, details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        raise
