"""Resources of one PostgreSQL server, created one after the other."""

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
    """Each resource depends on the one added before it, so that no two ever change the server at once.

    PostgreSQL refuses concurrent changes of one access control list ("tuple concurrently updated"), and drops a role
    only after everything that refers to it. The order of the calls is the order of creation; deletion is the reverse.
    """

    def __init__(
        self, parent: pulumi.Resource, admin: Admin, existing: frozenset[tuple[str, str]] = frozenset()
    ) -> None:
        """All resources are children of `parent`, created as `admin`; `existing` ones are imported."""
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
            # Otherwise the plugin takes PGDATABASE. Ignored if that is not set: stacks of the first release lack it.
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
        """Create `kind(logical, **arguments)` as the next resource; `logical` is its name in the stack."""
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
        """Put the next resources into `database`: they are deleted with it, and a replacement deletes them first."""
        self._options = self._with(deleted_with=database, delete_before_replace=True)

    def after(self, resource: pulumi.Resource) -> None:
        """Let the next resources follow a resource that needs the parent, and so is no child of it."""
        self._options = self._with()
        self._options.parent = None
        self._last = resource

    def _with(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._options, pulumi.ResourceOptions(**options))
