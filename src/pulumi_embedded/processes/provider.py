"""The calls of Pulumi's provider protocol to one plugin, with values instead of messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

import grpc
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff
from pulumi_embedded.model.urns import provider_package, urn_name, urn_type
from pulumi_embedded.model.values import Properties, annotate_secrets, contains_unknowns, to_struct, unwrap
from pulumi_embedded.processes.answers import (
    CheckFailure,
    DiffUnavailable,
    NoAnswer,
    PartialFailure,
    ProviderError,
    ReadResult,
    diff_from,
    error_from,
    values_from,
)
from pulumi_embedded.processes.plugins import PluginProcess

__all__ = ["Provider", "public_config"]

Message = TypeVar("Message")

_HANDSHAKE_SECONDS: Final = 60.0


class Provider:
    """A provider plugin with one configuration. With an unknown configuration it answers as if it did not exist."""

    def __init__(self, plugin: PluginProcess, handshake: provider_pb2.ProviderHandshakeRequest) -> None:
        self._plugin = plugin
        self._stub = provider_pb2_grpc.ResourceProviderStub(plugin.channel)
        self._known = True
        self._secrets = self._resources = self._preview = False
        answer = self._call_optional(partial(self._stub.Handshake, timeout=_HANDSHAKE_SECONDS), handshake)
        # A plugin with a handshake returns its features here (Pulumi CLI 3.260). Others return them from Configure.
        self._settled = answer is not None
        if answer is not None:
            self._secrets, self._resources, self._preview = answer.accept_secrets, answer.accept_resources, True

    def _act(self, method: Callable[[Any], Message], request: Any) -> Message:
        """Make a call that changes something. Raises NoAnswer if it is not known whether it did."""
        try:
            return method(request)
        except grpc.RpcError as error:
            raise self._error(error) from None

    def _call(self, method: Callable[[Any], Message], request: Any) -> Message:
        """Make a call that changes nothing, so that all is known of the resource also if it fails."""
        try:
            return method(request)
        except grpc.RpcError as error:
            raise ProviderError(str(self._error(error))) from None

    def _call_optional(self, method: Callable[[Any], Message], request: Any) -> Message | None:
        try:
            return method(request)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise ProviderError(str(self._error(error))) from None

    def _error(self, error: grpc.RpcError) -> EngineError:
        return error_from(error, self._plugin.package, self._plugin.ended)

    def _values(self, struct: Any, *, known: bool = True) -> Properties:
        return values_from(struct, self._plugin.package, known=known)

    def _pack(self, properties: Mapping[str, Any], *, unknowns: bool = True) -> Any:
        return to_struct(properties, secrets=self._secrets, unknowns=unknowns, resources=self._resources)

    def check_config(self, urn: str, olds: Properties, news: Properties) -> tuple[Properties, list[CheckFailure]]:
        """Return the provider's configuration with its defaults, and its failures."""
        request = provider_pb2.CheckRequest(
            **_named(urn),
            olds=to_struct(olds, secrets=False),
            news=to_struct(news, secrets=False),
        )
        response = self._call_optional(self._stub.CheckConfig, request)
        if response is None:
            return news, []
        inputs = self._values(response.inputs, known=False)
        annotate_secrets(inputs, news)
        return inputs, [CheckFailure(failure.property, failure.reason) for failure in response.failures]

    def diff_config(self, urn: str, old: ResourceState, news: Properties) -> Diff:
        """Return how the new configuration differs from that of the provider in the state."""
        request = provider_pb2.DiffRequest(
            **_named(urn),
            olds=to_struct(old.outputs, secrets=False),
            news=to_struct(news, secrets=False),
            old_inputs=to_struct(public_config(old.inputs), secrets=False),
        )
        response = self._call_optional(self._stub.DiffConfig, request)
        return Diff() if response is None else diff_from(response)

    def configure(self, urn: str, id_: str, inputs: Properties) -> None:
        """Configure the plugin, unless a value of the configuration is unknown."""
        if any(contains_unknowns(value) for key, value in inputs.items() if key != "version"):
            self._known = False
            return
        package = provider_package(urn_type(urn))
        variables = {
            f"{package}:config:{key}": _text(unwrap(value)) for key, value in inputs.items() if key != "version"
        }
        request = provider_pb2.ConfigureRequest(
            **_named(urn),
            id=id_,
            variables=variables,
            args=to_struct(inputs, secrets=True),
            acceptSecrets=True,
            acceptResources=True,
            sends_old_inputs=True,
            sends_old_inputs_to_delete=True,
        )
        response = self._call(self._stub.Configure, request)
        if not self._settled:
            self._secrets = response.acceptSecrets
            self._resources = response.acceptResources
            self._preview = response.supportsPreview

    def check(
        self, urn: str, olds: Properties, news: Properties, seed: bytes, preview: bool
    ) -> tuple[Properties, list[CheckFailure]]:
        """Return the resource's inputs with the provider's defaults, and their failures.

        Args:
            urn: The resource.
            olds: The inputs in the state.
            news: The inputs of the program.
            seed: The seed of random defaults.
            preview: Whether unknown values are passed. An update leaves them out.

        """
        if not self._known:
            return news, []
        request = provider_pb2.CheckRequest(
            **_named(urn),
            olds=self._pack(olds, unknowns=preview),
            news=self._pack(news, unknowns=preview),
            randomSeed=seed,
        )
        response = self._call(self._stub.Check, request)
        inputs = self._values(response.inputs, known=False)
        if not self._secrets:
            annotate_secrets(inputs, news)
        return inputs, [CheckFailure(failure.property, failure.reason) for failure in response.failures]

    def diff(self, urn: str, old: ResourceState, news: Properties, ignore_changes: list[str]) -> Diff:
        """Return how the inputs differ from the resource in the state.

        Raises:
            DiffUnavailable: The provider's configuration is unknown in this preview.

        """
        if not self._known:
            raise DiffUnavailable(
                "The provider for this resource has inputs that are not known during preview.\n"
                "This preview may not correctly represent the changes that will be applied during an update."
            )
        request = provider_pb2.DiffRequest(
            id=old.id,
            **_named(urn),
            olds=self._pack(old.outputs),
            news=self._pack(news),
            old_inputs=self._pack(old.inputs),
            ignoreChanges=ignore_changes,
        )
        return diff_from(self._call(self._stub.Diff, request))

    def create(self, urn: str, inputs: Properties, timeout: float, preview: bool) -> tuple[str, Properties]:
        """Create the resource, and return its id and outputs. In a preview, return no id and the known outputs.

        Raises:
            PartialFailure: The resource exists and is not healthy.
            NoAnswer: It is not known whether the resource exists.

        """
        if preview and not (self._known and self._preview):
            return "", dict(inputs) if self._known else {}
        request = provider_pb2.CreateRequest(
            **_named(urn),
            properties=self._pack(inputs, unknowns=preview),
            timeout=timeout,
            preview=preview,
        )
        with self._secrets_kept(inputs):
            response = self._act(self._stub.Create, request)
        if not response.id and not preview:
            raise NoAnswer(f"plugin returned empty resource.ID from create '{urn}'")
        return response.id, self._outputs(response.properties, inputs, known=not preview)

    def read(self, old: ResourceState) -> ReadResult:
        """Return the resource as it is now."""
        if not self._known:
            return ReadResult(old.id)
        request = provider_pb2.ReadRequest(
            id=old.id,
            **_named(old.urn),
            properties=self._pack(old.outputs),
            inputs=self._pack(old.inputs),
            timeout=old.custom_timeouts.get("read", 0.0),
        )
        with self._secrets_kept(old.outputs):
            response = self._read(request)
        if not self._secrets:
            annotate_secrets(response.outputs, old.outputs)
            annotate_secrets(response.inputs or {}, old.inputs)
        return response

    def import_(self, urn: str, id_: str, timeout: float) -> ReadResult:
        """Return an existing resource, by the id that the provider gives it."""
        if not self._known:
            return ReadResult("")
        return self._read(provider_pb2.ReadRequest(id=id_, timeout=timeout, **_named(urn)))

    def _read(self, request: provider_pb2.ReadRequest) -> ReadResult:
        try:
            response = self._act(self._stub.Read, request)
        except NoAnswer as error:
            raise ProviderError(str(error)) from None
        inputs = self._values(response.inputs) if response.HasField("inputs") else None
        return ReadResult(response.id, self._values(response.properties), inputs)

    def update(
        self,
        urn: str,
        old: ResourceState,
        inputs: Properties,
        timeout: float,
        ignore_changes: list[str],
        preview: bool,
    ) -> Properties:
        """Update the resource, and return its outputs. In a preview, return the known outputs.

        Raises:
            PartialFailure: The resource has changed and is not healthy.
            NoAnswer: It is not known whether the resource has changed.

        """
        if preview and not (self._known and self._preview):
            return dict(inputs) if self._known else {}
        request = provider_pb2.UpdateRequest(
            id=old.id,
            **_named(urn),
            olds=self._pack(old.outputs),
            news=self._pack(inputs, unknowns=preview),
            old_inputs=self._pack(old.inputs),
            timeout=timeout,
            ignoreChanges=ignore_changes,
            preview=preview,
        )
        with self._secrets_kept(inputs):
            response = self._act(self._stub.Update, request)
        return self._outputs(response.properties, inputs, known=not preview)

    def delete(self, old: ResourceState) -> None:
        """Delete the resource. Raises NoAnswer if it is not known whether it was deleted."""
        request = provider_pb2.DeleteRequest(
            id=old.id,
            **_named(old.urn),
            properties=self._pack(old.outputs),
            old_inputs=self._pack(old.inputs),
            timeout=old.custom_timeouts.get("delete", 0.0),
        )
        self._act(self._stub.Delete, request)

    def invoke(self, token: str, arguments: Properties, preview: bool) -> tuple[Properties | None, list[CheckFailure]]:
        """Return a function's result, and the failures of its arguments. None if the configuration is unknown."""
        if not self._known:
            return None, []
        response = self._call(
            self._stub.Invoke, provider_pb2.InvokeRequest(tok=token, args=self._pack(arguments), preview=preview)
        )
        failures = [CheckFailure(failure.property, failure.reason) for failure in response.failures]
        return self._values(getattr(response, "return"), known=False), failures

    @contextmanager
    def _secrets_kept(self, known: Properties) -> Iterator[None]:
        """Mark properties of a PartialFailure as secret if the same properties of `known` are."""
        try:
            yield
        except PartialFailure as failure:
            if not self._secrets:
                annotate_secrets(failure.outputs, known)
                annotate_secrets(failure.inputs or {}, known)
            raise

    def _outputs(self, message: Any, inputs: Properties, *, known: bool) -> Properties:
        outputs = self._values(message, known=known)
        if not self._secrets:
            annotate_secrets(outputs, inputs)
        return outputs


def public_config(inputs: Properties) -> Properties:
    """Return a provider's configuration without the engine's own entry."""
    return {key: value for key, value in inputs.items() if key != "__internal"}


def _named(urn: str) -> dict[str, Any]:
    """Return the fields of a request that identify its resource."""
    return {"urn": urn, "name": urn_name(urn), "type": urn_type(urn)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
