"""URNs, which identify resources: urn:pulumi:STACK::PROJECT::PARENT_TYPE$TYPE::NAME."""

from __future__ import annotations

__all__ = [
    "PROVIDER_PREFIX",
    "STACK_TYPE",
    "display_type",
    "is_provider_type",
    "make_urn",
    "provider_package",
    "provider_urn",
    "urn_name",
    "urn_stack",
    "urn_type",
]

STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_PREFIX = "pulumi:providers:"


def make_urn(stack: str, project: str, parent: str, type_: str, name: str) -> str:
    """Return the URN of a resource. The root stack is not part of its children's types."""
    parent_type = _qualified_type(parent) if parent else ""
    chain = f"{parent_type}${type_}" if parent_type and parent_type != STACK_TYPE else type_
    return f"urn:pulumi:{stack}::{project}::{chain}::{name}"


def _qualified_type(urn: str) -> str:
    return urn.split("::", 3)[2]


def urn_stack(urn: str) -> str:
    """Return the stack of the resource."""
    return urn.split(":", 3)[2]


def urn_type(urn: str) -> str:
    """Return the resource's own type, without its parents' types."""
    return _qualified_type(urn).rsplit("$", 1)[-1]


def urn_name(urn: str) -> str:
    """Return the resource's name, which can contain `::`."""
    return urn.split("::", 3)[3]


def display_type(urn: str) -> str:
    """Return the type as people read it: `postgresql:index:Role` for `postgresql:index/role:Role`."""
    parts = urn_type(urn).split(":")
    if len(parts) != 3:
        return urn_type(urn)
    package, module, name = parts
    head, _, tail = module.partition("/")
    if tail and name and tail == name[0].lower() + name[1:]:
        module = head
    return f"{package}:{module}:{name}"


def is_provider_type(type_: str) -> bool:
    """Return whether resources of this type are providers."""
    return type_.startswith(PROVIDER_PREFIX)


def provider_package(type_: str) -> str:
    """Return the package of a resource type or a provider type."""
    return type_.removeprefix(PROVIDER_PREFIX) if is_provider_type(type_) else type_.split(":", 1)[0]


def provider_urn(reference: str) -> str:
    """Return the URN in a provider reference `URN::ID`."""
    return reference.rpartition("::")[0]
