"""Every resource has a provider: the one that the program names, or its package's default one."""

from __future__ import annotations

from collections.abc import Mapping

from pulumi_embedded.errors import Unsupported
from pulumi_embedded.goals import Goal
from pulumi_embedded.storage.config import ConfigValue, package_config
from pulumi_embedded.urns import PROVIDER_PREFIX, is_provider_type, provider_package
from pulumi_embedded.values import Properties

__all__ = ["default_provider"]


def default_provider(goal: Goal, config: Mapping[str, ConfigValue]) -> Goal | None:
    """The default provider that the resource needs, None where it needs none.

    Providers have no provider themselves, and neither have components; a provider's version is one of its inputs.
    Raises Unsupported for the resources that the Pulumi CLI itself provides.
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
    if package == "pulumi":
        # The CLI's built-in provider: StackReference, Stash, getResource.
        raise Unsupported(goal.type)
    name = "default"
    if goal.version:
        name = "default_" + goal.version.translate(str.maketrans(".-+", "___"))
    inputs = package_config(config, package) | _versioned(goal.version)
    return Goal(PROVIDER_PREFIX + package, name, True, inputs)


def _versioned(version: str) -> Properties:
    # The empty `__internal` is how the CLI (3.260) marks that the version is not the provider's own setting.
    return {"version": version, "__internal": {}} if version else {}
