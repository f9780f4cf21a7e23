"""One stack: a PostgreSQL database with its roles, and its schema at a revision."""

import signal
from pathlib import Path

import pulumi

from pulumi_alembic import Drift, Migrations
from taskdb import preflight
from taskdb.connection_limit import NO_LIMIT, OUTPUT
from taskdb.database import TEMPORARY_TABLES, Database
from taskdb.errors import TaskdbError
from taskdb.existing import existing
from taskdb.promotion import promoted_from
from taskdb.settings import Settings

MIGRATIONS = "migrations"

# Pulumi interrupts a program when one of its resources has failed: Python would answer that with a traceback.
signal.signal(signal.SIGINT, signal.SIG_DFL)

try:
    settings = Settings.load(Path.cwd())
    history, server = preflight.check(settings, Path(MIGRATIONS))
    present = existing(settings.admin, settings.database) if settings.adopt else frozenset()
    lower = promoted_from(settings.lower) if settings.lower else None
except TaskdbError as error:
    raise pulumi.RunError(str(error)) from None

database = Database(settings, server, present)

migrations = Migrations(
    "schema",
    url=database.migrator_url,
    directory=MIGRATIONS,
    history=history,
    target=settings.revision,
    policy=settings.policy.settings,
    approval=settings.approval,
    allow_data_loss=settings.allow_data_loss,
    lint=settings.lint,
    production=settings.production,
    promote_from=lower,
    rehearse_with=settings.admin.url(settings.database) if settings.rehearse or settings.adopt else None,
    backup=settings.backup,
    on_unknown_revision=settings.on_unknown_revision,
    drift=Drift((*settings.drift_ignore, *database.granted_after), database.fingerprint),
    adopt=settings.adopt,
    commands=settings.commands,
    contract=settings.contract,
    baselines=settings.baselines,
    opts=pulumi.ResourceOptions(depends_on=[database]),
)

database.let_report(migrations)

pulumi.export("database", database.name)
pulumi.export("host", settings.admin.host)
pulumi.export("port", settings.admin.port)
pulumi.export("revision", migrations.revision)
pulumi.export("proof", pulumi.Output.secret(migrations.proof))
pulumi.export("app_login", settings.app_login)
if database.connection_limit != NO_LIMIT:
    # A stack without this output is one of before there was a limit.
    pulumi.export(OUTPUT, database.connection_limit)
if database.temporary_tables:
    # A stack without this output is one of before the owner could create them.
    pulumi.export(TEMPORARY_TABLES, database.temporary_tables)
pulumi.export("schema_fingerprint", migrations.schema_fingerprint)
pulumi.export("app_url", database.app_url)
pulumi.export("reader_url", database.reader_url)
pulumi.export("migrator_url", database.migrator_url)
if database.reporter_url is not None:
    pulumi.export("reporter_url", database.reporter_url)
