"""The command `drift` of `pulumi-alembic`."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_alembic.commands.command import AS_JSON, TENANT, Options, command, flag, option, tell
from pulumi_alembic.commands.formats import print_document
from pulumi_alembic.commands.project import database_url
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.output.engine import engine
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts.plan import revision_text

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.drift.check import Comparison
    from pulumi_alembic.drift.report import ReportedDifference

__all__ = ["COMMANDS"]

_FOUND = 3


def _drift(options: Options, directory: Path) -> int:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.drift import store
    from pulumi_alembic.drift.check import compare
    from pulumi_alembic.drift.difference.ignored import patterns

    ignore = patterns(options.ignore)
    if sum((options.json, options.sql, options.accept)) > 1:
        raise MigrationError("--json, --sql and --accept cannot be combined")
    if options.accept and not options.reason.strip():
        raise MigrationError("--accept needs --reason: say why the differences are right")
    if options.schema:
        return _tenant(options, directory, ignore)
    with connect(database_url(directory)) as connection:
        digest = store.newest(connection)
        if not digest:
            raise DatabaseError(
                f"the ledger contains no snapshot yet. An update of the stack writes the first one:\n  {engine()} up"
            )
        comparison = compare(connection, digest, ignore, tell)
        if comparison.moved:
            raise DatabaseError(
                f"the database is at {revision_text(comparison.found.heads)}, where no update of the stack left it: "
                f"drift cannot be told from what revisions changed. Bring it to its revision first:\n  {engine()} up"
            )
        if comparison.whole is None:
            raise DatabaseError(
                "the ledger's newest snapshot does not match its digest, so somebody changed it: drift cannot be "
                "computed. Check the database. After a change of the stack an update accepts it as it is:\n"
                f"  {engine()} up"
            )
        differences = comparison.reported
        if options.accept:
            return _accept(connection, comparison, differences, options.reason.strip(), directory)
    return _show(options, comparison, differences)


def _tenant(options: Options, directory: Path, ignore: tuple[str, ...]) -> int:
    """Compare one tenant's schema, or accept its drift."""
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.drift import tenants
    from pulumi_alembic.scripts.origin import Origin

    if options.sql:
        raise MigrationError("--sql and --schema cannot be combined: the statements below each difference fix it")
    # The tenant's own session would resolve names in its schema. This only checks that the schema exists.
    with connect(database_url(directory, options.schema)):
        pass
    with connect(database_url(directory)) as connection:
        seen = tenants.compare(connection, options.schema, ignore)
        if seen.whole is None:
            raise DatabaseError(
                f"the schema {options.schema} is at {revision_text(seen.found.heads)}, where no update of the stack "
                "left it: drift cannot be told from what revisions changed. Bring it to its revision first: pulumi up"
            )
        if not options.accept or not seen.reported:
            if options.accept:
                print("no drift to accept")
                return 0
            return _show(options, seen, seen.reported)
        names = [difference.name for difference in seen.reported]
        detail = {"expected": seen.expected, "reason": options.reason.strip(), "drift": names}
        tenants.accept(connection, options.schema, seen, Origin.of(directory), detail)
        connection.commit()
    print("\n  ".join(["accepted:", *names]))
    return 0


def _accept(
    connection: Connection, seen: Comparison, differences: list[ReportedDifference], reason: str, directory: Path
) -> int:
    from pulumi_alembic.drift import store
    from pulumi_alembic.ledger.ledger import Event
    from pulumi_alembic.scripts.origin import Origin

    if not differences:
        print("no drift to accept")
        return 0
    detail = {"expected": seen.expected, "reason": reason, "drift": [difference.name for difference in differences]}
    store.keep(connection, seen.found, Origin.of(directory), detail, Event.DRIFT_ACCEPTED)
    connection.commit()
    print("\n  ".join(["accepted:", *(difference.name for difference in differences)]))
    return 0


def _show(options: Options, seen: Comparison, differences: list[ReportedDifference]) -> int:

    subject = f"the schema {options.schema}" if options.schema else "the database"
    if options.json:
        summary = {"expected": seen.expected, "found": seen.found.digest, "since": seen.when}
        print_document(**summary, drift=[asdict(difference) for difference in differences])
    elif not differences:
        print(f"{'-- ' if options.sql else ''}no drift: {subject} is as the update of {seen.when} left it")
    elif options.sql and seen.whole is not None:
        from pulumi_alembic.drift.report import psql_script

        print(psql_script(seen.whole, "Restores the schema that the last update of the stack left."), end="")
    else:
        print(f"drift, {counted(len(differences), 'difference')} from what the update of {seen.when} left:")
        for difference in differences:
            print("\n    ".join([f"  {difference.name}", *difference.lines]))
        fix = "" if options.schema else "Fix it: pulumi-alembic drift --sql. "
        of = f" --schema {shlex.quote(options.schema)}" if options.schema else ""
        print(seen.upgrade or f"{fix}Accept it: pulumi-alembic drift{of} --accept --reason WHY")
    return _FOUND if differences and not options.sql else 0


COMMANDS = (
    command(
        _drift,
        "Show how the database differs from what the last update left. Exit with 3 if it does.",
        AS_JSON,
        flag("--sql", "Print a script for psql that restores what the last update left."),
        flag("--accept", "Accept the differences; needs --reason."),
        option("--reason", "Why they are accepted; recorded in the ledger.", default=""),
        TENANT,
        option("--ignore", "Ignore these differences, such as 'table app.tmp_*'.", metavar="PATTERN", multiple=True),
    ),
)
