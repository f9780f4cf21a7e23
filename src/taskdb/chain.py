"""Resources of one PostgreSQL server, made one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pulumi
import pulumi_postgresql as postgresql

from taskdb.admin import Admin

__all__ = ["Chain"]

CONNECT_TIMEOUT = 15  # seconds

R = TypeVar("R", bound=pulumi.CustomResource)


class Chain:
    """Each resource depends on the one added before it, so that no two ever change the server at once.

    PostgreSQL refuses concurrent changes of one access control list ("tuple concurrently updated"), and drops a role
    only after everything that refers to it. The order of the calls is the order of creation; deletion is the reverse.
    """

    def __init__(self, parent: pulumi.Resource, admin: Admin) -> None:
        """All resources are children of `parent`, made as `admin`."""
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
            opts=self._options,
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
        """Make `kind(logical, **arguments)` as the next resource; `logical` is its name in the stack."""
        opts = pulumi.ResourceOptions.merge(self._with(depends_on=[self._last]), options)
        resource = kind(logical, opts=opts, **arguments)
        self._last = resource
        return resource

    def within(self, database: postgresql.Database) -> None:
        """What is added from here on lives in `database`: it goes with it, and is replaced by deleting it first."""
        self._options = self._with(deleted_with=database, delete_before_replace=True)

    def _with(self, **options: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._options, pulumi.ResourceOptions(**options))
