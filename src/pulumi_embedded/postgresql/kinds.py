"""The kinds of resources that this plugin has, and those that only the real one has."""

from __future__ import annotations

from pulumi_embedded.postgresql.database import Database
from pulumi_embedded.postgresql.default_privileges import DefaultPrivileges
from pulumi_embedded.postgresql.extension import Extension
from pulumi_embedded.postgresql.grant import Grant
from pulumi_embedded.postgresql.grant_role import GrantRole
from pulumi_embedded.postgresql.kind import Kind
from pulumi_embedded.postgresql.role import Role
from pulumi_embedded.postgresql.schema import SchemaKind

__all__ = ["FOREIGN", "KINDS"]

KINDS: dict[str, Kind] = {
    kind.token: kind
    for kind in (Database(), DefaultPrivileges(), Extension(), Grant(), GrantRole(), Role(), SchemaKind())
}

# pulumi-postgresql 3.18.2: by the last part of their token.
FOREIGN = {
    "Function", "PhysicalReplicationSlot", "Publication", "ReplicationSlot", "SecurityLabel", "Server",
    "Subscription", "UserMapping",
}  # fmt: skip
