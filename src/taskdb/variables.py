"""Reject variables of libpq that only the real postgresql plugin would use."""

from __future__ import annotations

import os
import shutil

from pulumi_alembic.database import libpq
from taskdb.commands import engine
from taskdb.errors import TaskdbError
from taskdb.settings.admin import VARIABLES

__all__ = ["refuse_variables"]

EMBEDDED = "pulumi-embedded"
PLUGIN = "pulumi-resource-postgresql"
# The program passes these values itself, or they do not affect a connection with a password.
_WITHOUT_EFFECT = {
    *VARIABLES.values(),
    "PGAPPNAME",
    "PGCONNECT_TIMEOUT",
    "PGDATABASE",
    "PGLOCALEDIR",
    "PGPASSFILE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
}


def refuse_variables() -> None:
    """Reject variables that the driver of the real plugin reads or rejects, if that plugin is in use.

    The plugin is a process of the engine, so a program cannot change the environment that it reads
    (lib/pq 1.12.3 in pulumi-postgresql 3.18.2). The program's own connections ignore these variables.

    Raises:
        TaskdbError: Such a variable is set. Nothing was changed.

    """
    if engine() == EMBEDDED and shutil.which(PLUGIN) is None:
        return
    names = sorted(name for name in libpq.variables() - _WITHOUT_EFFECT if os.environ.get(name))
    if names:
        raise TaskdbError(
            f"the postgresql plugin reads {', '.join(names)} from the environment, which would decide beside the "
            f"stack's configuration how it connects. Nothing was done. Try again after:\n  unset {' '.join(names)}"
        )
