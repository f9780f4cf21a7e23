"""One database: an owner, a login that migrates and may become the owner, and the schema at its newest revision."""

from urllib.parse import quote

import pulumi
import pulumi_postgresql as postgresql

from pulumi_alembic import Migrations

config = pulumi.Config()
host, port, admin = config.require("host"), config.require_int("port"), config.require("admin")
password = config.require_secret("migrator_password")
quoted = password.apply(lambda text: quote(text, safe=""))

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


owner = add(postgresql.Role, "owner", name="shop_owner")
migrator = add(
    postgresql.Role,
    "migrator",
    name="shop_migrator",
    login=True,
    password=password,
    inherit=False,
    roles=[owner.name],
    assume_role=owner.name,
    search_paths=["app"],
)
database = add(postgresql.Database, "shop", name="shop", owner=admin)
for schema in ("app", "migrations", "kept"):
    add(postgresql.Schema, schema, within=database, name=schema, database=database.name, owner=owner.name)

schema = Migrations(
    "schema",
    url=pulumi.Output.format("postgresql://shop_migrator:{0}@{1}:{2}/{3}", quoted, host, port, database.id),
    directory="migrations",
    opts=pulumi.ResourceOptions(depends_on=made),
)
pulumi.export("revision", schema.revision)
