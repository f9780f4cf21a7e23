"""A database for each tenant of the configuration: one owner, one login that migrates them all, a canary first."""

from urllib.parse import quote

import pulumi
import pulumi_postgresql as postgresql

from pulumi_alembic import Migrations, Waves

config = pulumi.Config()
host, port, admin = config.require("host"), config.require_int("port"), config.require("admin")
password = config.require_secret("migrator_password")
quoted = password.apply(lambda text: quote(text, safe=""))
tenants = config.require_object("tenants")

server = postgresql.Provider(
    "server",
    host=host,
    port=port,
    username=admin,
    password=config.require_secret("admin_password"),
    superuser=False,
    sslmode=config.get("sslmode") or "verify-full",
)
made = []


def add(kind, title, /, within=None, **arguments):
    """Create one resource after another: roles and grants of one server must not change at the same time.

    What is `within` a database is dropped with it.
    """
    options = pulumi.ResourceOptions(provider=server, depends_on=made[-1:], deleted_with=within)
    made.append(kind(title, opts=options, **arguments))
    return made[-1]


owner = add(postgresql.Role, "owner", name="tenants_owner")
add(
    postgresql.Role,
    "migrator",
    name="tenants_migrator",
    login=True,
    password=password,
    inherit=False,
    roles=[owner.name],
    assume_role=owner.name,
    search_paths=["app"],
)
databases = []
for tenant in tenants:
    database = add(postgresql.Database, tenant, name=f"tenant_{tenant}", owner=admin)
    for schema in ("app", "migrations", "kept"):
        title = f"{schema}-{tenant}"
        add(postgresql.Schema, title, within=database, name=schema, database=database.name, owner=owner.name)
    databases.append(database)

migrations = Migrations(
    "schema",
    url=pulumi.Output.format("postgresql://tenants_migrator:{0}@{1}:{2}/{3}", quoted, host, port, databases[0].id),
    databases=[database.id for database in databases],
    waves=Waves(canary=1),
    opts=pulumi.ResourceOptions(depends_on=made),
)
pulumi.export("revisions", migrations.revisions)
