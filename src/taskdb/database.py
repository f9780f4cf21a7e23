"""The database with its roles, schemas, extension and grants, as one component resource."""

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
"""The output with whether the owner can create temporary tables."""
_PUBLIC_IS_OURS = 15
"""The first major version of PostgreSQL in which the database's owner owns the schema public."""

DEFAULT_PRIVILEGES = {
    "rw": {
        "table": ["SELECT", "INSERT", "UPDATE", "DELETE"],
        "sequence": ["USAGE", "SELECT"],
        "function": ["EXECUTE"],
    },
    "ro": {"table": ["SELECT"], "sequence": ["SELECT"]},
}
"""The default privileges of the groups on objects that the owner creates in the application's schema."""


class Database(pulumi.ComponentResource):
    """A database: the migrator builds the schema as its owner, the application reads and writes, the reader reads.

    PUBLIC has no privileges, except its default ones in the schema public before PostgreSQL 15. The URLs are secrets.

    Attributes:
        migrator_url: The migrator's URL. It is unknown until the migrator can connect.
        app_url: The URL of `app_login`, one of the application's two logins. A change of `app_login` gives the new
            login a new password.
        reader_url: The reader's URL.
        reporter_url: The URL of the login for reports. None unless it is requested.
        name: The name of the database.
        fingerprint: A digest of the program's inputs, without passwords.
        connection_limit: The limit of sessions of each application login.
        temporary_tables: Whether the owner can create temporary tables.

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
        """Declare the database.

        Its name is the prefix of its roles, and must stay the same, because the provider renames in place. Before
        PostgreSQL 15 a superuser owns the schema public, and only a superuser can revoke PUBLIC's rights on it. The
        admin's REVOKE would do nothing, and each update would repeat it.

        Args:
            settings: The stack's settings. If `temporary_tables` is None, the owner can create temporary tables in a
                new stack, and in a stack in which it already can.
            server: The result of preflight.
            existing: The database and roles that are imported, as pairs of class and name.
            opts: Pulumi's own options.

        Raises:
            pulumi.RunError: The stack was renamed. Nothing was changed.

        """
        name, admin, app_login = settings.database, settings.admin, settings.app_login
        # Read the outputs before any resource is registered: afterwards the engine can be writing the state.
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
        # The admin owns the database, because the provider's grants on another role's database silently do nothing.
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
        """Let the reporter, if it exists, read what a report needs: no row of the application, and no script.

        Args:
            migrations: The resource that creates the tables that the reporter reads.

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
        """The names, as in drift, of privileges that are granted after the update has taken its snapshot."""
        if self._roles.reporter is None:
            return ()
        tables = [f"table {VERSION_SCHEMA}.{VERSION_TABLE}"]
        tables += [f"column {VERSION_SCHEMA}.{LEDGER}.{column}" for column in REPORTED_COLUMNS]
        return tuple(f"privileges {table} to {self._prefix}_reporter" for table in tables)

    def _make_schemas(self) -> postgresql.Schema:
        """Create the four schemas and pgcrypto. Return the schema of the migration tables."""
        self._schema(APP_SCHEMA, self._roles.owner.name)
        migrations = self._schema(VERSION_SCHEMA, self._roles.owner.name)
        # The program of an older commit lacks this schema, and must not drop the preserved rows in it.
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
        """Return the login's URL, a secret. It is unknown until the database and the `needed` resources exist."""
        host = f"[{self._admin.host}]" if ":" in self._admin.host else self._admin.host
        server, tls = f"{host}:{self._admin.port}", urlencode(self._admin.tls)
        ids = [resource.id for resource in (login.role, self._database, *needed)]
        return pulumi.Output.secret(
            pulumi.Output.all(login.role.name, login.password, self._database.name, *ids).apply(
                lambda values: f"postgresql://{values[0]}:{values[1]}@{server}/{values[2]}?{tls}"
            )
        )


def _refuse_other_name(outputs: Mapping[str, Any], name: str) -> None:
    """Raise RunError if the stack was renamed. The plugin would rename objects that others refer to by name."""
    former = str(outputs.get("database", name))
    if former != name:
        stack = former.removeprefix(f"{pulumi.get_project()}_")
        raise pulumi.RunError(
            f"this stack's database is {former}, and the name of the stack makes it {name}. A database and its roles "
            "are not renamed: what refers to them would fail. Nothing was done. Give the stack its former name:\n"
            f"  {command('stack rename', stack)}"
        )
