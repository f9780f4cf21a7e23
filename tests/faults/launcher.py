"""Clients as forks of one process, which tests.forks starts.

A run has `directory`, `url` and `output` (a file). It also has `arguments` of `pulumi-alembic`, or a `target` to
migrate to, up or down. With a folder `backup` the run makes a backup first.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

# Modules that a run imports late, imported once.
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

from pulumi_alembic.backups import restore, taking  # noqa: F401
from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.commands import cli
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.migrate import alembic_run, migrator  # noqa: F401
from pulumi_alembic.migrate.job import Job
from tests.forks import redirect, serve
from tests.postgres.alembic.hearing import Gates, Hears


def _client(run: dict[str, Any]) -> None:
    status = 70
    try:
        redirect(run["output"])
        os.environ["DATABASE_URL"] = run["url"]
        if "arguments" in run:
            sys.argv = ["pulumi-alembic", *run["arguments"], "--directory", run["directory"]]
            cli.main()
        status = _migrate(run)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def _migrate(run: dict[str, Any]) -> int:
    try:
        may_lose = frozenset(run["may_lose"])
        job = Job(run["url"], Path(run["directory"]), run["target"], "pulumi up", allow_data_loss=may_lose)
        gate = Gates()
        if "backup" in run:
            setting = BackupSetting(When.ALWAYS, Path(run["backup"]))
            gate = Gates(back_up=taking.Maker(setting, job, Hears(on_status=print, on_info=print)).back_up)
        migrator.migrate(job, gate)
    except MigrationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    serve(_client)
