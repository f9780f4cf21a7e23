"""The commands `baseline` and `squash` of `pulumi-alembic`."""

from __future__ import annotations

from pathlib import Path

from pulumi_alembic.commands.command import Options, argument, command, flag, option, tell
from pulumi_alembic.commands.project import database_url
from pulumi_alembic.output.wording import counted, nearby

__all__ = ["COMMANDS"]


def _baseline(options: Options, directory: Path) -> None:
    from pulumi_alembic.baselines import writing

    run = writing.check if options.check else writing.write
    baseline = run(database_url(directory), options.rehearse_with, directory, options.revision, tell)
    path = nearby(baseline.path)
    print(f"{path} builds what its scripts build" if options.check else f"wrote {path}, {baseline.checksum}")


def _squash(options: Options, directory: Path) -> None:
    from pulumi_alembic.scripts.squash import squash

    script = squash(directory, options.revision)
    count = counted(len(script.replaces), "revision")
    print(f"{nearby(script.path)} stands for {count}, whose scripts are in commit {script.replaces[-1].commit}")


COMMANDS = (
    command(
        _baseline,
        "Write a revision's schema and seeded rows as one file, from which an empty database starts. The revisions run "
        "in scratch databases on the server of DATABASE_URL, whose database gives roles, schemas and extensions only.",
        argument("revision", metavar="REVISION"),
        option(
            "--rehearse-with",
            "A login of the server that can create databases and become the owner. Set the password in PGPASSWORD.",
            metavar="URL",
            required=True,
        ),
        flag("--check", "Write nothing: check that the file builds what the scripts build."),
    ),
    command(
        _squash,
        "Replace a revision and all that it builds on by one script, which builds what the revision's baseline builds. "
        "No database is contacted. Older databases need a commit with the scripts that this removes.",
        argument("revision", metavar="REVISION"),
    ),
)
