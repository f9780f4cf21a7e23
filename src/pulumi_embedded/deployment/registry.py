"""The providers of one operation. Each provider resource has one configured plugin, started at its first use."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Mapping

from pulumi.runtime.proto import provider_pb2

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import equal
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff
from pulumi_embedded.model.urns import provider_package, provider_urn, urn_type
from pulumi_embedded.model.values import UNKNOWN_SENTINEL, Properties, unwrap
from pulumi_embedded.processes.answers import CheckFailure
from pulumi_embedded.processes.builtin import BUILTIN, BuiltinProvider
from pulumi_embedded.processes.pickled import modules_of
from pulumi_embedded.processes.plugins import DYNAMIC, PluginHost
from pulumi_embedded.processes.provider import Provider, public_config

__all__ = ["ProviderRegistry"]


class ProviderRegistry:
    """Finds a resource's provider by its reference `URN::ID`, which comes from the state or from this run."""

    def __init__(self, host: PluginHost, engine: str, folder: str, builtin: BuiltinProvider) -> None:
        self._host = host
        self._builtin = builtin
        self._engine = engine
        self._folder = folder
        self._lock = threading.RLock()
        self._configured: dict[str, Provider] = {}
        # Providers that were checked in this run and whose step has not run yet.
        self._checked: dict[str, Provider] = {}
        self._olds: dict[str, ResourceState] = {}
        # The configuration of each provider.
        self._inputs: dict[str, Properties] = {}

    def remember(self, resources: Iterable[ResourceState]) -> None:
        """Make the providers of a state available to `get`. Their plugins start at the first use."""
        with self._lock:
            self._olds = {resource.reference: resource for resource in resources if resource.is_provider}

    def start_ahead(self, resources: Iterable[ResourceState]) -> None:
        """Begin to start the plugins of the state's providers. That of dynamic resources imports their modules."""
        for state in self._olds.values():
            package = provider_package(state.type)
            if not state.delete and package != BUILTIN:
                modules = modules_of(resources) if package == DYNAMIC else ()
                self._host.start_ahead(package, _version(state.inputs), modules)

    def _load(self, urn: str, inputs: Mapping[str, object]) -> Provider:
        if inputs.get("pluginDownloadURL"):
            raise EngineError(f"{urn}: plugins are not downloaded; install the plugin first")
        if provider_package(urn_type(urn)) == BUILTIN:
            return self._builtin
        plugin = self._host.start(provider_package(urn_type(urn)), _version(inputs))
        request = provider_pb2.ProviderHandshakeRequest(
            engine_address=self._engine,
            root_directory=self._folder,
            program_directory=self._folder,
            configure_with_urn=True,
            invoke_with_preview=True,
        )
        return Provider(plugin, request)

    def get(self, reference: str) -> Provider:
        """Return the configured provider of a reference. One that only the state has is configured as in the state.

        Raises:
            EngineError: Neither the program nor the state has the provider, or its plugin cannot be started.

        """
        with self._lock:
            if reference not in self._configured:
                old = self._olds.get(reference)
                if old is None:
                    raise EngineError(f"unknown provider {reference}: neither the program nor the state has it")
                self.keep(old)
            return self._configured[reference]

    def check(self, urn: str, olds: Properties, news: Properties) -> tuple[Properties, list[CheckFailure]]:
        """Check a provider resource's inputs. The engine's own entries are not passed to the plugin."""
        with self._lock:
            provider = self._checked.get(urn) or self._reusable(urn, news) or self._load(urn, news)
            inputs, failures = provider.check_config(urn, public_config(olds), public_config(news))
            if failures:
                return inputs, failures
            self._checked[urn] = provider
        return {**inputs, **{key: news[key] for key in ("version", "__internal") if key in news}}, []

    def _reusable(self, urn: str, news: Properties) -> Provider | None:
        """Return a provider that a refresh has started with the same configuration. None if there is none."""
        for reference, provider in self._configured.items():
            old = self._olds.get(reference)
            if old is not None and old.urn == urn and equal(unwrap(old.inputs), unwrap(news)):
                return provider
        return None

    def diff(self, old: ResourceState, news: Properties) -> Diff:
        """Return how a provider resource's new inputs differ.

        If the plugin does not know, changed values are an update and never a replacement.
        """
        with self._lock:
            provider = self._checked.get(old.urn) or self.get(old.reference)
        diff = provider.diff_config(old.urn, old, public_config(news))
        if diff.changes is None:
            return Diff(changes=not equal(old.outputs, public_config(news)))
        return diff

    def keep(self, state: ResourceState) -> None:
        """Make an unchanged provider available under its reference, with its configuration in the state."""
        with self._lock:
            if state.reference in self._configured:
                self._checked.pop(state.urn, None)
                return
            provider = self._checked.pop(state.urn, None) or self._load(state.urn, state.inputs)
            provider.configure(state.urn, state.id, public_config(state.inputs))
            self._configured[state.reference] = provider
            self._inputs[state.reference] = public_config(state.inputs)

    def create(self, urn: str, inputs: Properties, preview: bool) -> tuple[str, Properties]:
        """Configure a new provider, and return its id, which is unknown in a preview, and its outputs."""
        id_ = UNKNOWN_SENTINEL if preview else str(uuid.uuid4())
        return id_, self._configure(urn, id_, inputs)

    def update(self, old: ResourceState, inputs: Properties) -> Properties:
        """Configure a provider again under its old id. Steps that need the old configuration have run before."""
        return self._configure(old.urn, old.id, inputs)

    def _configure(self, urn: str, id_: str, inputs: Properties) -> Properties:
        with self._lock:
            provider = self._checked.pop(urn, None)
            if provider is None or provider in self._configured.values():
                provider = self._load(urn, inputs)
            outputs = public_config(inputs)
            provider.configure(urn, id_, outputs)
            self._configured[f"{urn}::{id_}"] = provider
            self._inputs[f"{urn}::{id_}"] = outputs
        return outputs

    def diff_between(self, old_reference: str, new_reference: str) -> Diff:
        """Return how the configurations of a resource's old and new provider differ."""
        old = self._olds.get(old_reference)
        if old is None:
            return Diff()
        provider = self.get(new_reference)
        return provider.diff_config(provider_urn(new_reference), old, self._inputs[new_reference])


def _version(inputs: Mapping[str, object]) -> str:
    version = inputs.get("version")
    return version if isinstance(version, str) else ""
