"""The commands `new …` of `pulumi-alembic`, which write the revisions of a recipe for review."""

from __future__ import annotations

from pathlib import Path

import click

from pulumi_alembic.commands.command import Options, Run, argument, command
from pulumi_alembic.commands.project import database_url, project_folder

__all__ = ["GROUP"]

_RECIPES = {
    "rename-column": (("OLD", "NEW"), "Rename a column while code of both versions runs."),
    "change-type": (("COLUMN", "TYPE"), "Give a column a wider type without a rewrite under lock."),
    "split-column": (
        ("COLUMN", "FIRST", "FIRST_VALUE", "SECOND", "SECOND_VALUE", "VALUE"),
        "Split a column into two. A VALUE is SQL: of the new columns from the old one, and the reverse.",
    ),
    "merge-columns": (
        ("FIRST", "SECOND", "NEW", "VALUE", "FIRST_VALUE", "SECOND_VALUE"),
        "Merge two columns into one. A VALUE is SQL: of the new column from the old ones, and the reverse.",
    ),
    "move-column": (
        ("COLUMN", "OTHER"),
        "Move a column to a table OTHER, by a foreign key that is unique on both sides.",
    ),
    "set-not-null": (("COLUMN",), "Set a column NOT NULL without a scan under lock."),
    "add-not-null-column": (("COLUMN", "TYPE", "DEFAULT"), "Add a NOT NULL column with a constant default."),
    "add-check": (("NAME", "CONDITION"), "Add a CHECK without a scan under lock."),
    "add-foreign-key": (("COLUMN", "OTHER", "KEY"), "Add a foreign key to the column KEY of the table OTHER."),
    "add-unique": (("COLUMNS",), "Add a unique constraint. Its index is built beside writers. COLUMNS: a,b."),
    "drop-column": (("COLUMN",), "Drop a column that no code uses any longer."),
    "add-enum-value": (("COLUMN", "VALUE"), "Add a value to the enum type of a column."),
    "rename-enum-value": (
        ("COLUMN", "OLD", "NEW", "NAME"),
        "Rename an enum value: a column NAME, of a type of its own, takes the place of the column.",
    ),
    "remove-enum-value": (("COLUMN", "VALUE"), "Remove a value from the enum type of a column."),
    "rename-table": (("NEW",), "Rename a table. A view has the old name until the contract."),
    "drop-table": ((), "Drop a table that no code uses any longer."),
    "replace-index": (("INDEX", "COLUMNS"), "Let an index of other COLUMNS take the place of an INDEX."),
}
"""The arguments of each recipe after the table, and its help. They are here so that help loads no SQL parser."""


def _run(name: str) -> Run:
    def run(options: Options, directory: Path) -> None:
        from contextlib import closing

        from pulumi_alembic.database.connection import open_session
        from pulumi_alembic.migrate.recipes.table import read_table
        from pulumi_alembic.migrate.recipes.templates import RECIPES
        from pulumi_alembic.migrate.recipes.write import write

        given = {word: getattr(options, word.lower()) for word in _RECIPES[name][0]}
        with closing(open_session(database_url(directory))) as session:
            drafts = RECIPES[name](session, read_table(session, options.table), given)
        for path, draft in zip(write(directory, project_folder(), drafts), drafts, strict=True):
            print(f"{directory.name}/{path.parent.name}/{path.name}{', contract' * draft.contract}")

    run.__name__ = f"_{name}"
    return run


GROUP = click.Group(
    "new",
    help="Write the revisions of a recipe, for a change that code of both versions survives. The table is looked up in "
    "the database. Review them as any other revision.",
    commands=[
        command(
            _run(name),
            help,
            argument("table", metavar="TABLE"),
            *(argument(word.lower(), metavar=word) for word in words),
        )
        for name, (words, help) in _RECIPES.items()
    ],
)
