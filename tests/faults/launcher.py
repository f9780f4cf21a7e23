"""Starts clients quickly: one process has everything loaded, and every run is a fork of it.

Each line of standard input is a run as JSON: `arguments` of `pulumi-alembic`, or a `target` to migrate to in whichever
direction, after a backup into the folder `backup` where there is one; `directory`, `url`, `output` (a file). The
answers are two lines: the process, and its exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

# What a run imports late, imported once.
import sqlalchemy.dialects.postgresql.psycopg  # noqa: F401

from pulumi_alembic.backups import restore, taking  # noqa: F401
from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.commands import cli
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.migrate import alembic_run, migrator  # noqa: F401
from pulumi_alembic.migrate.job import Job
from tests.postgres.alembic.hearing import Gates, Hears


def main() -> None:
    for line in sys.stdin:
        run = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _client(run)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _client(run: dict[str, Any]) -> None:
    status = 70
    try:
        output = os.open(run["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
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
    main()
