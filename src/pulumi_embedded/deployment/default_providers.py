"""Give every resource a provider: the one that the program names, or the default one of its package."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pulumi_embedded.errors import Unsupported
from pulumi_embedded.model.goals import Goal
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import PROVIDER_PREFIX, is_provider_type, provider_package
from pulumi_embedded.model.values import ConfigValue, Properties
from pulumi_embedded.processes.builtin import BUILTIN, BUILTIN_TYPES
from pulumi_embedded.storage.config import package_config

__all__ = ["DefaultProviders"]


class DefaultProviders:
    """The default providers of one run. Each is registered when the first resource needs it."""

    def __init__(self, config: Mapping[str, ConfigValue]) -> None:
        self._config = config
        self._known: dict[str, ResourceState] = {}

    def resolve(self, goal: Goal, register: Callable[[Goal], ResourceState]) -> None:
        """Set the default provider of a resource that needs one, if the program names none."""
        default = _default_provider(goal, self._config)
        if default is None:
            return
        key = default.name + default.type
        if key not in self._known:
            self._known[key] = register(default)
        goal.provider = self._known[key].reference


def _default_provider(goal: Goal, config: Mapping[str, ConfigValue]) -> Goal | None:
    """Return the default provider that the resource needs. None if it needs none.

    Providers and components have no provider. A provider's version is one of its inputs.
    Raises Unsupported for a type that only the Pulumi CLI itself implements.
    """
    if not goal.custom:
        goal.provider = ""
        return None
    if is_provider_type(goal.type):
        goal.provider = ""
        goal.inputs |= _versioned(goal.version)
        return None
    if goal.provider:
        return None
    package = provider_package(goal.type)
    if package == BUILTIN and goal.type not in BUILTIN_TYPES:
        raise Unsupported(goal.type)
    name = "default"
    if goal.version:
        name = "default_" + goal.version.translate(str.maketrans(".-+", "___"))
    inputs = package_config(config, package) | _versioned(goal.version)
    return Goal(PROVIDER_PREFIX + package, name, True, inputs)


def _versioned(version: str) -> Properties:
    # The empty `__internal` is how the CLI (3.260) marks that the version is not the provider's own setting.
    return {"version": version, "__internal": {}} if version else {}
