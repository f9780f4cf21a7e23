"""Plain Alembic, used as in its manual: one transaction per migration, one process per revision."""

import multiprocessing
from multiprocessing.connection import Connection
from pathlib import Path

from alembic import command
from alembic.config import Config

from tests.postgres.alembic import steps

ENV = """
import sqlalchemy as sa
from alembic import context

attributes = context.config.attributes
engine = sa.create_engine(attributes["url"].replace("postgresql:", "postgresql+psycopg:"), poolclass=sa.NullPool)
with engine.connect() as connection:
    connection.exec_driver_sql(f'SET ROLE {attributes["owner"]}')
    connection.commit()
    context.configure(connection=connection, transaction_per_migration=True, version_table_schema="migrations")
    with context.begin_transaction():
        context.run_migrations()
"""

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def run(url: str, owner: str, directory: Path, verb: str) -> tuple[list[tuple[int, str]], str]:
    """Run `alembic upgrade +1` or `downgrade -1` in its own process, and return the log of its steps and its error.

    The process is forked from one that has imported Alembic and has run nothing.
    """
    here, there = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_work, args=(there, url, owner, directory, verb))
    process.start()
    there.close()
    try:
        found: tuple[list[tuple[int, str]], str] = here.recv()
        return found
    finally:
        process.join()


def _work(answer: Connection, url: str, owner: str, directory: Path, verb: str) -> None:
    config = Config(attributes={"url": url, "owner": owner})
    config.set_main_option("script_location", str(directory))
    error = ""
    try:
        (command.upgrade if verb == "upgrade" else command.downgrade)(config, "+1" if verb == "upgrade" else "-1")
    except Exception as raised:
        error = steps.outcome(raised)
    answer.send((steps.LOG, error))
