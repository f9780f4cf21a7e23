"""The database with its roles, schemas, extension and grants, as one component."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pulumi
import pulumi_postgresql as postgresql

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA, VERSION_TABLE
from pulumi_alembic.ledger.table import LEDGER, REPORTED_COLUMNS
from taskdb.chain import Chain
from taskdb.commands import command
from taskdb.connection_limit import connection_limit
from taskdb.passwords import login_inputs
from taskdb.preflight import Server
from taskdb.roles import APP_SCHEMA, Login, Roles
from taskdb.rotation import LOGINS, exported_login, own_outputs, turn
from taskdb.settings import Settings

__all__ = ["TEMPORARY_TABLES", "Database"]

EXTENSION_SCHEMA = "extensions"
TEMPORARY_TABLES = "temporary_tables"
"""The output that says that the owner can create temporary tables."""
_PUBLIC_IS_OURS = 15
"""The first major version of PostgreSQL in which the schema public is the database's owner's."""

DEFAULT_PRIVILEGES = {
    "rw": {
        "table": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "sequence": ["USAGE", "SELECT"],
        "function": ["EXECUTE"],
    },
    "ro": {"table": ["SELECT"], "sequence": ["SELECT"]},
}
"""What the groups may do with everything that the owner makes in the application's schema, from its first moment."""


class Database(pulumi.ComponentResource):
    """A database: the migrator builds the schema as its owner, the application reads and writes, the reader reads.

    PUBLIC has no privileges, except its default ones in the schema public before PostgreSQL 15. The URLs are secrets;
    `migrator_url` is unknown until the migrator can connect. `app_url` is of `app_login`, one of the application's two:
    its password is replaced when it differs from the last one. `reporter_url` is None unless a `reporter` is
    requested. `fingerprint` is a digest of the program's inputs, without passwords.
    """

    migrator_url: pulumi.Output[str]
    app_url: pulumi.Output[str]
    reader_url: pulumi.Output[str]
    reporter_url: pulumi.Output[str] | None
    name: pulumi.Output[str]
    fingerprint: pulumi.Output[str]
    connection_limit: int
    temporary_tables: bool

    def __init__(
        self,
        settings: Settings,
        server: Server,
        existing: frozenset[tuple[str, str]] = frozenset(),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """The name of the database, which is the prefix of its roles', must stay: the provider renames in place.

        `server` is preflight's result. Before 15 the schema public is the superuser's, and only it can revoke
        PUBLIC's rights on it: the admin's REVOKE does nothing there, and each update would repeat it.
        The `existing` ones of the database and its roles are imported into the stack. With `temporary_tables` the owner
        can create temporary tables, which some statements of revisions need; None means: in a new stack, and in one
        that has it already.
        """
        name, admin, app_login = settings.database, settings.admin, settings.app_login
        # Before anything is registered here: from then on the engine may be writing the state that this reads.
        outputs = own_outputs()
        _refuse_other_name(outputs, name)
        exported = exported_login(outputs)
        self.connection_limit = connection_limit(settings.app_connections, outputs, adopting=bool(existing))
        # The first release did not grant it, and a preview of its stacks must show no change.
        granted = not outputs or bool(outputs.get(TEMPORARY_TABLES))
        self.temporary_tables = granted if settings.temporary_tables is None else settings.temporary_tables
        super().__init__("taskdb:index:Database", name, None, opts)
        self._admin, self._prefix = admin, name
        self._chain = Chain(self, admin, existing)
        guarded = pulumi.ResourceOptions(protect=settings.protect or None)
        turns = [turn(login, app_login, exported) for login in LOGINS]
        logins = {login: login_inputs(admin, login, name) for login in server.logins}
        self._roles = Roles(self._chain, settings, turns, logins, self.connection_limit, self)
        # The admin's own: the provider's grants on a database of another role silently do nothing.
        self._database = self._chain.add(
            postgresql.Database, "database", name=name, owner=admin.username, options=guarded
        )
        self._chain.within(self._database)
        connect = self._grant_connect()
        reporter_connect = self._grant_connect_to_reporter()
        if server.version >= _PUBLIC_IS_OURS:
            self._grant("schema-public-public", "public", "schema", [], schema="public")
        migrations = self._make_schemas()
        self._grant_usage()
        self._set_default_privileges()
        self.name = self._database.name
        self.fingerprint = self._chain.fingerprint
        self.migrator_url = self._url(self._roles.migrator, connect, migrations)
        self.app_url = self._url(self._roles.apps[app_login])
        self.reader_url = self._url(self._roles.reader)
        self.reporter_url = self._url(self._roles.reporter, *reporter_connect) if self._roles.reporter else None
        self.register_outputs({"name": self.name})

    def _grant_connect(self) -> postgresql.Grant:
        """Let the migrator and the groups connect, and no other role; return the migrator's grant."""
        migrator = self._grant("connect-migrator", self._roles.migrator.role.name, "database", ["CONNECT"])
        self._grant("connect-rw", self._roles.rw.name, "database", ["CONNECT"])
        self._grant("connect-ro", self._roles.ro.name, "database", ["CONNECT"])
        self._grant("database-public", "public", "database", [])
        if self.temporary_tables:
            self._grant("temporary-owner", self._roles.owner.name, "database", ["TEMPORARY"])
        return migrator

    def _grant_connect_to_reporter(self) -> list[postgresql.Grant]:
        if self._roles.reporter is None:
            return []
        return [self._grant("connect-reporter", self._roles.reporter.role.name, "database", ["CONNECT"])]

    def let_report(self, migrations: pulumi.Resource) -> None:
        """Let the reporter, if it exists, read what a report needs: no row, and no applied script.

        The tables that it reads exist after the `migrations`.
        """
        if self._roles.reporter is None:
            return
        reporter = self._roles.reporter.role.name
        self._chain.after(migrations)
        for table, columns in {VERSION_TABLE: None, LEDGER: list(REPORTED_COLUMNS)}.items():
            self._chain.add(
                postgresql.Grant,
                f"{table}-reporter",
                database=self._database.name,
                role=reporter,
                object_type="column" if columns else "table",
                schema=VERSION_SCHEMA,
                objects=[table],
                columns=columns,
                privileges=["SELECT"],
            )

    @property
    def granted_after(self) -> tuple[str, ...]:
        """The privileges of `let_report` by their names in drift: they are granted after the update's snapshot."""
        if self._roles.reporter is None:
            return ()
        tables = [f"table {VERSION_SCHEMA}.{VERSION_TABLE}"]
        tables += [f"column {VERSION_SCHEMA}.{LEDGER}.{column}" for column in REPORTED_COLUMNS]
        return tuple(f"privileges {table} to {self._prefix}_reporter" for table in tables)

    def _make_schemas(self) -> postgresql.Schema:
        """Create the four schemas and pgcrypto; return the schema of the migration tables."""
        self._schema(APP_SCHEMA, self._roles.owner.name)
        migrations = self._schema(VERSION_SCHEMA, self._roles.owner.name)
        # An older commit's program does not know it, and must not drop the preserved rows in it.
        self._schema(KEPT_SCHEMA, self._roles.owner.name, pulumi.ResourceOptions(retain_on_delete=True))
        extensions = self._schema(EXTENSION_SCHEMA, self._admin.username)
        self._chain.add(
            postgresql.Extension, "pgcrypto", name="pgcrypto", database=self._database.name, schema=extensions.name
        )
        return migrations

    def _schema(
        self, name: str, owner: pulumi.Input[str], options: pulumi.ResourceOptions | None = None
    ) -> postgresql.Schema:
        return self._chain.add(
            postgresql.Schema, name, options=options, name=name, database=self._database.name, owner=owner
        )

    def _grant_usage(self) -> None:
        roles = self._roles
        for schema, groups in {
            APP_SCHEMA: {"rw": roles.rw, "ro": roles.ro},
            EXTENSION_SCHEMA: {"owner": roles.owner, "rw": roles.rw, "ro": roles.ro},
        }.items():
            for group, role in groups.items():
                self._grant(f"usage-{schema}-{group}", role.name, "schema", ["USAGE"], schema=schema)
        if roles.reporter:
            for schema in (APP_SCHEMA, VERSION_SCHEMA):
                self._grant(f"usage-{schema}-reporter", roles.reporter.role.name, "schema", ["USAGE"], schema=schema)

    def _set_default_privileges(self) -> None:
        groups = {"rw": self._roles.rw, "ro": self._roles.ro}
        for group, by_type in DEFAULT_PRIVILEGES.items():
            for object_type, privileges in by_type.items():
                self._default(f"{group}-{object_type}", groups[group].name, object_type, privileges, schema=APP_SCHEMA)
        # Without a schema: PUBLIC's default privileges on functions can only be revoked everywhere.
        self._default("public-function", "public", "function", [])

    def _grant(
        self, name: str, role: pulumi.Input[str], object_type: str, privileges: list[str], schema: str | None = None
    ) -> postgresql.Grant:
        return self._chain.add(
            postgresql.Grant,
            name,
            database=self._database.name,
            role=role,
            object_type=object_type,
            privileges=privileges,
            schema=schema,
        )

    def _default(
        self, name: str, role: pulumi.Input[str], object_type: str, privileges: list[str], schema: str | None = None
    ) -> None:
        self._chain.add(
            postgresql.DefaultPrivileges,
            f"default-{name}",
            database=self._database.name,
            owner=self._roles.owner.name,
            role=role,
            object_type=object_type,
            privileges=privileges,
            schema=schema,
        )

    def _url(self, login: Login, *needed: pulumi.CustomResource) -> pulumi.Output[str]:
        """The login's URL, a secret; unknown until the database and the `needed` resources exist."""
        host = f"[{self._admin.host}]" if ":" in self._admin.host else self._admin.host
        server, tls = f"{host}:{self._admin.port}", urlencode(self._admin.tls)
        ids = [resource.id for resource in (login.role, self._database, *needed)]
        return pulumi.Output.secret(
            pulumi.Output.all(login.role.name, login.password, self._database.name, *ids).apply(
                lambda values: f"postgresql://{values[0]}:{values[1]}@{server}/{values[2]}?{tls}"
            )
        )


def _refuse_other_name(outputs: Mapping[str, Any], name: str) -> None:
    """Raise RunError if the stack was renamed: the plugin would rename objects that others refer to by name."""
    former = str(outputs.get("database", name))
    if former != name:
        stack = former.removeprefix(f"{pulumi.get_project()}_")
        raise pulumi.RunError(
            f"this stack's database is {former}, and the name of the stack makes it {name}. A database and its roles "
            "are not renamed: what refers to them would fail. Nothing was done. Give the stack its former name:\n"
            f"  {command('stack rename', stack)}"
        )
