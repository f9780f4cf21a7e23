"""The command `status` of `pulumi-alembic`. A project can call `run` with facts about its own stacks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_alembic.commands.command import AS_JSON, Options, command, option
from pulumi_alembic.commands.formats import print_document
from pulumi_alembic.errors import HistoryError, MigrationError
from pulumi_alembic.output import engine
from pulumi_alembic.output.printable import printable

if TYPE_CHECKING:
    from pulumi_alembic.status.overview import Guide

__all__ = ["COMMANDS", "run"]


def _status(options: Options, directory: Path) -> int:
    try:
        from pulumi_alembic.status.overview import Guide
    except ModuleNotFoundError as error:
        raise MigrationError(
            f"status needs {error.name}, which is not installed:\n  pip install 'pulumi-alembic[status]'"
        ) from None

    return run(Path.cwd(), directory, Guide(engine.path()), options.json, options.html)


def run(project: Path, directory: Path, guide: Guide, as_json: bool, html: Path | None) -> int:
    """Print the status of a project's stacks, and write its page.

    Args:
        project: The directory of the program.
        directory: The scripts.
        guide: Facts about the project's stacks.
        as_json: Whether to print JSON.
        html: The file of the page. None for no page.

    Returns:
        The exit code: 1 if a stack has a problem, otherwise 0.

    Raises:
        MigrationError: There is no project, its states cannot be read, or the page cannot be written.

    """
    from pulumi_alembic.scripts.history import History
    from pulumi_alembic.status import overview, text
    from pulumi_alembic.status.page import page
    from pulumi_alembic.status.states import project_name

    statuses = overview.survey(project, guide, with_catalog=html is not None)
    if as_json:
        print_document(stacks=[status.to_json() for status in statuses])
    else:
        print(printable("\n".join(text.lines(statuses))))
    if html:
        try:
            history = History.load(directory)
        except HistoryError:
            # A problem of each stack says what is wrong with the scripts.
            history = None
        try:
            html.write_text(page(project_name(project), history, statuses), encoding="utf-8")
        except OSError as error:
            raise MigrationError(f"cannot write {html}: {error.strerror or error}") from None
        print(f"wrote {html}", file=sys.stderr)
    return 1 if any(status.problems for status in statuses) else 0


COMMANDS = (
    command(
        _status,
        "Show all stacks of the project in this folder. Exit with 1 if a stack has a problem.",
        AS_JSON,
        option("--html", "Write one page that needs no network.", metavar="FILE", type=Path),
    ),
)
