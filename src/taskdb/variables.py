"""Variables of libpq that only the real postgresql plugin would use."""

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
# The program gives the plugin these values itself, or they decide nothing about a connection with a password.
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
    """Raise TaskdbError if the real plugin is in use, and a variable is set that its driver reads or rejects.

    Nothing in a program can keep the plugin, a process of the engine's, from reading its environment
    (lib/pq 1.12.3 in pulumi-postgresql 3.18.2). All connections of the program's own leave these variables out.
    """
    if engine() == EMBEDDED and shutil.which(PLUGIN) is None:
        return
    names = sorted(name for name in libpq.variables() - _WITHOUT_EFFECT if os.environ.get(name))
    if names:
        raise TaskdbError(
            f"the postgresql plugin reads {', '.join(names)} from the environment, which would decide beside the "
            f"stack's configuration how it connects. Nothing was done. Try again after:\n  unset {' '.join(names)}"
        )
