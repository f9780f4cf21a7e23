"""Drift of tenants' schemas, around an update and in a refresh: equal differences are reported once."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from psycopg import sql

from pulumi_alembic.database.connection import connect
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.fanout.plan.databases import Kind, Listing, few
from pulumi_alembic.stack.properties import Properties

if TYPE_CHECKING:
    from pulumi_alembic.drift.difference.snapshot import Snapshot
    from pulumi_alembic.drift.tenants import Drifted

__all__ = ["TenantDrift"]

_SHOWN = 3


class TenantDrift:
    """Stores what an update leaves in each schema, and compares the schemas with it. Databases are not compared."""

    def __init__(self, properties: Properties, listing: Listing) -> None:
        self._properties = properties
        self._listing = listing
        self._before: dict[str, Snapshot] = {}

    def begin(self) -> None:
        """Read the schemas before an update runs."""
        if self._listing.kind is Kind.SCHEMA:
            from pulumi_alembic.drift import tenants

            with connect(self._properties.url or "") as connection:
                self._before = tenants.read(connection, self._listing.names)

    def end(self) -> dict[str, list[str]]:
        """Store what the update left, and warn about drift, which is returned as `look` does.

        An error is a warning, because the update has run.
        """
        if self._listing.kind is not Kind.SCHEMA:
            return {}
        from pulumi_alembic.drift import tenants

        log, job = self._properties.log, self._properties.job(self._properties)
        try:
            with connect(self._properties.url or "") as connection:
                after = tenants.read(connection, self._listing.names)
                moved = tenants.expect(connection, self._before or after, after, job.origin)
                connection.commit()
                found = tenants.drifted(connection, after, self._properties.drift_ignore)
        except DatabaseError as error:
            log.warning(f"the schemas could not be read after the update; the next update reads them: {error}")
            return {}
        if moved:
            log.warning(
                f"{self._of(moved)}: at another revision than the last update left, by another program or by an update "
                "that was interrupted: drift cannot be computed, and the schema as it is now is the new baseline"
            )
        self._warn(found)
        return self._lines(found)

    def look(self) -> dict[str, list[str]]:
        """Return the differences by name for the state, each with its schemas, and warn about them."""
        if self._listing.kind is not Kind.SCHEMA:
            return {}
        from pulumi_alembic.drift import tenants

        with connect(self._properties.url or "") as connection:
            current = tenants.read(connection, self._listing.names)
            found = tenants.drifted(connection, current, self._properties.drift_ignore)
        self._warn(found)
        return self._lines(found)

    def _lines(self, found: list[Drifted]) -> dict[str, list[str]]:
        return {
            f"{name} in {self._of(group.names)}": list(lines)
            for group in found
            for name, lines in group.differences.items()
        }

    def _warn(self, found: list[Drifted]) -> None:
        from pulumi_alembic.drift.report import listed

        for group in found:
            head = f"drift in {self._of(group.names)} from what the last update left:"
            path = sql.Identifier(group.names[0]).as_string(None)
            fix = f"Statements name no schema. Run them in each of these: SET search_path = {path}"
            accept = f"Accept it: pulumi-alembic drift --schema {shlex.quote(group.names[0])} --accept --reason WHY"
            advice = group.upgrade or f"{fix}\n  {accept}"
            self._properties.log.warning("\n  ".join([head, *listed(group.differences.items()), advice]))

    def _of(self, names: list[str] | tuple[str, ...]) -> str:
        return f"{self._listing.counted(len(names))} ({few(names, len(names), _SHOWN)})"
