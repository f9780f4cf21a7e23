"""Where the scripts and the database are, for a command that is typed in a project: found as `alembic` finds them."""

from __future__ import annotations

import os
from pathlib import Path

from pulumi_alembic.errors import DatabaseError, HistoryError

__all__ = ["database_url", "script_directory"]

FILES = ("pyproject.toml", "alembic.ini")


def script_directory() -> Path:
    """The `script_location` of Alembic's settings in this folder: pyproject.toml, otherwise alembic.ini.

    Raises HistoryError without one.
    """
    for read in (_of_pyproject, _of_ini):
        if location := read():
            # Alembic interpolates as configparser does.
            return Path(location.replace("%(here)s", str(Path.cwd())).replace("%%", "%"))
    raise HistoryError(
        f"there is no {' or '.join(FILES)} with Alembic's script_location in {Path.cwd()}: run this in the project's "
        "folder, or name the scripts' folder with --directory"
    )


def _of_pyproject() -> str:
    # Not needed by whoever only asks for the URL, and a tenth of a no-op's time.
    import tomllib

    try:
        return str(tomllib.loads(Path(FILES[0]).read_text())["tool"]["alembic"]["script_location"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _of_ini() -> str:
    import configparser

    settings = configparser.RawConfigParser()
    try:
        settings.read_string(Path(FILES[1]).read_text())
        return settings["alembic"]["script_location"]
    except (OSError, ValueError, KeyError, configparser.Error):
        return ""


def database_url(directory: Path) -> str:
    """DATABASE_URL, else what the project's env.py gives `alembic`. Raises DatabaseError where neither tells."""
    if url := os.environ.get("DATABASE_URL"):
        return url
    from pulumi_alembic.migrate.alembic_run import ask_url

    url = ask_url(directory)
    if url is None:
        raise DatabaseError(f"{directory.name}/env.py does not tell the database's URL: set DATABASE_URL")
    return url
