"""Where the scripts and the database are, for a command that is typed in a project: found as `alembic` finds them."""

from __future__ import annotations

import os
from pathlib import Path

from pulumi_alembic.errors import DatabaseError, HistoryError

__all__ = ["database_url", "script_directory"]

FILE = "pyproject.toml"


def script_directory() -> Path:
    """The `script_location` of `[tool.alembic]` in this folder's pyproject.toml. Raises HistoryError without one."""
    # Not needed by whoever only asks for the URL, and a tenth of a no-op's time.
    import tomllib

    try:
        settings = tomllib.loads(Path(FILE).read_text())
        location = settings["tool"]["alembic"]["script_location"]
    except (OSError, ValueError, KeyError):
        raise HistoryError(
            f"there is no {FILE} with a [tool.alembic] script_location in {Path.cwd()}: run this in the project's "
            "folder, or name the scripts' folder with --directory"
        ) from None
    # Alembic interpolates as configparser does.
    return Path(location.replace("%(here)s", str(Path.cwd())).replace("%%", "%"))


def database_url(directory: Path) -> str:
    """DATABASE_URL, else what the project's env.py gives `alembic`. Raises DatabaseError where neither tells."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    from pulumi_alembic.migrate.alembic_run import ask_url

    url = ask_url(directory)
    if url is None:
        raise DatabaseError(f"{directory.name}/env.py does not tell the database's URL: set DATABASE_URL")
    return url
