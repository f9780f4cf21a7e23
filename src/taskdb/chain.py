"""Create the resources of one PostgreSQL server one after the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any, TypeVar

import pulumi
import pulumi_postgresql as postgresql

from taskdb.settings.admin import Admin

__all__ = ["Chain"]

CONNECT_TIMEOUT = 15  # seconds
SECRETS = ("password",)

R = TypeVar("R", bound=pulumi.CustomResource)


class Chain:
    """Creates resources of which each depends on the previous one, so that no two change the server at the same time.

    PostgreSQL rejects concurrent changes of one access control list ("tuple concurrently updated"). It drops a role
    only after everything that refers to it. The order of the calls is the order of creation. Deletion is the reverse.
    """

    def __init__(
        self, parent: pulumi.Resource, admin: Admin, existing: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        """Begin with the provider of the server.

        Args:
            parent: The parent of all resources.
            admin: The login that creates them.
            existing: Pairs of the class and the name of resources that are imported instead of created.

        """
        self._existing = existing
        self._asked: list[Any] = []
        self._options = pulumi.ResourceOptions(parent=parent)
        self._last: pulumi.Resource = postgresql.Provider(
            "server",
            host=admin.host,
            port=admin.port,
            username=admin.username,
            password=pulumi.Output.secret(admin.password),
            sslmode=admin.sslmode,
            sslrootcert=admin.sslrootcert or None,
            superuser=False,
            connect_timeout=CONNECT_TIMEOUT,
            # Otherwise the plugin uses PGDATABASE. Without it a change is ignored, as the first release set none.
            database="postgres",
            opts=self._with(ignore_changes=[] if os.environ.get("PGDATABASE") else ["database"]),
        )
        self._options = self._with(provider=self._last)

    def add(
        self,
        kind: Callable[..., R],
        logical: str,
        /,
        *,
        options: pulumi.ResourceOptions | None = None,
        **arguments: Any,
    ) -> R:
        """Create `kind(logical, **arguments)` as the next resource.

        Args:
            kind: The class of the resource.
            logical: The name in the stack.
            options: Further options of the resource.
            arguments: The inputs.

        """
        self._asked.append([logical, {key: value for key, value in arguments.items() if key not in SECRETS}])
        opts = pulumi.ResourceOptions.merge(self._with(depends_on=[self._last]), options)
        if (getattr(kind, "__name__", ""), str(arguments.get("name"))) in self._existing:
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(import_=arguments["name"]))
        resource = kind(logical, opts=opts, **arguments)
        self._last = resource
        return resource

    @property
    def fingerprint(self) -> pulumi.Output[str]:
        """A digest of the inputs of all resources so far, without passwords."""
        return pulumi.Output.json_dumps(self._asked, sort_keys=True).apply(
            lambda text: hashlib.sha256(text.encode()).hexdigest()[:32]
        )

    def within(self, database: postgresql.Database) -> None:
        """Put the next resources into `database`. They are deleted with it, and a replacement deletes them first."""
        self._options = self._with(deleted_with=database, delete_before_replace=True)

    def after(self, resource: pulumi.Resource) -> None:
        """Let the next resources follow a resource that depends on the parent. They cannot be its children."""
        self._options = self._with()
        self._options.parent = None
        self._last = resource

    def _with(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._options, pulumi.ResourceOptions(**options))
