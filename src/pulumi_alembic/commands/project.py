"""Find a project's scripts and its database as `alembic` does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pulumi_alembic.errors import DatabaseError, HistoryError, PolicyError
from pulumi_alembic.output.wording import nearby
from pulumi_alembic.policy import Policy

__all__ = ["database_and_policy", "database_url", "project_folder", "script_directory"]

FILES = ("pyproject.toml", "alembic.ini")


def project_folder() -> Path:
    """Return the nearest directory with Alembic's settings, from the current one upwards, or the current one."""
    return next((folder for folder in (Path.cwd(), *Path.cwd().parents) if _location(folder)), Path.cwd())


def script_directory() -> Path:
    """Return the `script_location` of Alembic's settings, from pyproject.toml or otherwise from alembic.ini.

    Raises:
        HistoryError: Neither file has one.

    """
    folder = project_folder()
    if location := _location(folder):
        # Alembic interpolates as configparser does.
        return nearby(folder / location.replace("%(here)s", str(folder)).replace("%%", "%"))
    raise HistoryError(
        f"there is no {' or '.join(FILES)} with Alembic's script_location in {folder} or above it: run this in the "
        "project, or name the scripts' folder with --directory"
    )


def _location(folder: Path) -> str:
    return _of_pyproject(folder / FILES[0]) or _of_ini(folder / FILES[1])


def _of_pyproject(file: Path) -> str:
    # The import takes a tenth of the time of a run with nothing pending. A command that needs only the URL skips it.
    import tomllib

    try:
        return str(tomllib.loads(file.read_text())["tool"]["alembic"]["script_location"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _of_ini(file: Path) -> str:
    import configparser

    settings = configparser.RawConfigParser()
    try:
        settings.read_string(file.read_text())
        return settings["alembic"]["script_location"]
    except (OSError, ValueError, KeyError, configparser.Error):
        return ""


def database_url(directory: Path, schema: str = "") -> str:
    """Return DATABASE_URL or otherwise the URL that the project's env.py gives to `alembic`.

    Args:
        directory: The directory of the scripts.
        schema: The tenant's schema. Empty for the database itself.

    Raises:
        DatabaseError: There is neither.

    """
    return database_and_policy(directory, schema)[0] if schema else _database(directory)[0]


def database_and_policy(directory: Path, schema: str = "", shared: Sequence[str] = ()) -> tuple[str, Policy]:
    """Return DATABASE_URL and the default policy, or otherwise what the project's env.py gives to `alembic`.

    Args:
        directory: The directory of the scripts.
        schema: The tenant's schema. Empty for the database itself.
        shared: The schemas that scripts find names in after the tenant's.

    Raises:
        DatabaseError: There is no URL.
        PolicyError: A setting is not valid.

    """
    url, policy = _database(directory)
    if not schema:
        if shared:
            raise PolicyError("--shared needs --schema NAME")
        return url, policy()
    from pulumi_alembic.database.tenant import in_schema

    return in_schema(url, schema, shared), policy()


def _database(directory: Path) -> tuple[str, Callable[[], Policy]]:
    if url := os.environ.get("DATABASE_URL"):
        return url, Policy
    from pulumi_alembic.migrate.alembic_run import ask_database

    given = ask_database(directory)
    if given is None:
        raise DatabaseError(f"{directory.name}/env.py does not tell the database's URL: set DATABASE_URL")
    return given
