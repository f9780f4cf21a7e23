"""The command `pulumi-alembic`: its commands on revisions, reports and the manifest.

A command imports what it needs when it runs, so that a run with nothing pending takes only a moment.
"""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from pulumi_alembic.commands import backfills, backups, baselines, drift, kept, new, status
from pulumi_alembic.commands.command import AS_JSON, SHARED, TENANT, Options, argument, command, flag, option, tell
from pulumi_alembic.commands.formats import print_document
from pulumi_alembic.commands.project import database_and_policy, database_url, project_folder, script_directory
from pulumi_alembic.database.sessions import patience, waits
from pulumi_alembic.errors import MigrationError, TargetError
from pulumi_alembic.migrate.data_loss.settings import allowed
from pulumi_alembic.migrate.job import Gate, Job, Listener
from pulumi_alembic.output.printable import guarded_output, json_text, printable
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts import phases
from pulumi_alembic.scripts.history import HEAD, History
from pulumi_alembic.scripts.manifest import Manifest
from pulumi_alembic.scripts.phases import Contracts
from pulumi_alembic.scripts.revision import CONTRACT

if TYPE_CHECKING:
    from pulumi_alembic.scripts.plan import Plan

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command, and end the process. An error of normal use is printed as one message, with exit code 1."""
    # Garbage collection during the imports, and the interpreter's own end, would take a quarter of the time of
    # a run with nothing pending.
    gc.set_threshold(100_000)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with guarded_output():
            status = _run()
    except KeyboardInterrupt:
        os.write(2, b"\nerror: interrupted; what was not committed is rolled back\n")
        status = 128 + signal.SIGINT
    except OSError as error:
        os.write(2, f"error: standard output cannot be written: {error.strerror}\n".encode())
        status = 1
    os._exit(status)


def _run() -> int:
    # As prepend_sys_path does for `alembic`, because an env.py can import the project.
    sys.path.insert(0, str(project_folder()))
    try:
        with waits(tell, patience().seconds):
            status: int | None = group.main(prog_name="pulumi-alembic", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, EOFError):
        print("error: cancelled: nothing was changed", file=sys.stderr)
        return 1
    except MigrationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status or 0


def _manifest(_: Options, directory: Path) -> None:
    history = History.load(directory)
    if history.manifest.exists and not history.differences:
        print("the manifest matches the scripts")
        return
    changes = history.write_manifest()
    listed = counted(len(history.revisions), "revision")
    print("\n  ".join([f"wrote {directory.name}/manifest: {listed}", *changes]))


def _accept(options: Options, directory: Path) -> None:
    from pulumi_alembic.database.connection import connect, read_heads
    from pulumi_alembic.ledger import integrity

    history = History.load(directory)
    if not options.reason.strip():
        raise MigrationError("--reason is empty: say why the edit changes nothing that was applied")
    with connect(database_url(directory, options.schema)) as connection:
        heads = read_heads(connection)
        accepted = integrity.accept(connection, history, heads, options.revision, options.reason)
        connection.commit()
    print(f"{options.revision} was accepted as it is now" if accepted else f"{options.revision} is as it was applied")


def _capsule(options: Options, directory: Path) -> None:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.ledger import stored_scripts

    with connect(database_url(directory, options.schema)) as connection:
        script = stored_scripts.read(connection, options.revision)
    print(f"# {script}\n# digest {script.digest}\n{script.printable}")


def _plan(options: Options, directory: Path) -> int:
    from pulumi_alembic.migrate import planner

    job = _job(options, directory)
    plan = planner.plan_from_database(job)
    _warn(directory)
    if options.json:
        steps = [{"revision": step.id, "message": step.message} for step in plan.steps]
        print_document(
            current=plan.current, target=plan.target, direction=plan.direction, steps=steps, **_further(plan)
        )
    else:
        print("\n  ".join([str(plan), *plan.lines, *plan.held_lines]))
    return _broken(plan, directory)


def _job(options: Options, directory: Path, command: str = "") -> Job:
    url, policy = database_and_policy(directory, options.schema, options.shared)
    # A baseline names the schemas of the database that it was written from.
    baselines = not (options.no_baseline or options.schema)
    job = Job(url, directory, options.target, command, policy, baselines=baselines)
    return replace(job, allow_data_loss=allowed(()), contracts=Contracts(by_hand=True))


def _further(plan: Plan) -> dict[str, Any]:
    """The fields of a plan in JSON that only some plans have."""
    held: dict[str, Any] = {"held": dict(plan.waits)} if plan.waits else {}
    return held | ({"baseline": plan.baseline.revision} if plan.baseline else {})


def _broken(plan: Plan, directory: Path) -> int:
    """Print the statements of the plan that PostgreSQL's parser rejects. Return 1 if there are any."""
    if not plan.steps:
        return 0
    from pulumi_alembic.review import static_lint

    findings = static_lint.broken(plan, History.load(directory))
    for revision in findings:
        print(f"error: {revision.text}", file=sys.stderr)
    return int(bool(findings))


def _upgrade(options: Options, directory: Path) -> None:
    from pulumi_alembic.migrate import planner

    command = " ".join(["pulumi-alembic", *sys.argv[1:]])
    job = _job(options, directory, command)
    plan = planner.read_plan_context(job).plan
    plan.require_upgrade()
    _warn(directory)
    if options.target in plan.waits:
        until = plan.waits[options.target]
        raise TargetError(f"{options.target} waits {until}. Nothing was run. To run it now:\n  {phases.COMMAND}")
    listener, revision = _Applied(quiet=options.json), plan.target
    if plan.steps:
        from pulumi_alembic.migrate import migrator

        revision = migrator.migrate(job, _UpgradesOnly(), listener)
    if options.json:
        print_document(revision=revision, applied=listener.revisions, **_further(plan))
    else:
        print("\n".join([*plan.held_lines, f"{_subject(options)} is at {revision}"]))


def _subject(options: Options) -> str:
    return f"the schema {options.schema}" if options.schema else "the database"


def _warn(directory: Path) -> None:
    if warning := Manifest.load(directory).warning:
        tell(f"warning: {warning}")


class _UpgradesOnly(Gate):
    def __init__(self, contract: str = "") -> None:
        self._contract = contract

    def approve(self, plan: Plan) -> Mapping[str, Any]:
        plan.require_upgrade()
        contracts = [step for step in plan.steps if self._contract and step.phase == CONTRACT]
        return {step.id: {CONTRACT: {"reason": self._contract}} for step in contracts}


def _contract(options: Options, directory: Path) -> None:
    from pulumi_alembic.migrate import migrator, planner

    reason = " ".join(options.reason.split())
    if " " not in reason:
        raise MigrationError("--reason must say in words why no code of the previous version runs any longer")
    typed = shlex.join(["pulumi-alembic", *sys.argv[1:]])
    url, policy = database_and_policy(directory, options.schema, options.shared)
    job = Job(url, directory, HEAD, typed, policy, allow_data_loss=allowed(()), contracts=Contracts(alone=True))
    plan = planner.read_plan_context(job).plan
    if not any(step.phase == CONTRACT for step in plan.steps):
        print("no contract is pending")
        return
    revision = migrator.migrate(job, _UpgradesOnly(reason), _Applied(quiet=False))
    print(f"{_subject(options)} is at {revision}")


class _Applied(Listener):
    """Prints each applied revision, unless it is `quiet`."""

    def __init__(self, *, quiet: bool) -> None:
        self.revisions: list[str] = []
        self._quiet = quiet

    def applied(self, revision: str) -> None:
        self.revisions.append(revision)
        if not self._quiet:
            print(f"upgrade {revision}", flush=True)

    def status(self, text: str) -> None:
        """Print the progress."""
        tell(text)

    waits = backfill = status


def _lint(options: Options, directory: Path) -> int:
    if options.rules:
        from pulumi_alembic.review.lint import installed

        print(printable(installed.table()))
        return 0
    from pulumi_alembic.review import static_lint

    findings = static_lint.lint_scripts(directory, options.revisions, static_lint.settings_of(options.severity))
    if options.json:
        print(json_text([report.document for report in findings]))
    else:
        print("\n".join(report.text for report in findings) or "no findings")
    return int(any(report.reaches(options.fail_on) for report in findings))


def _limit(_: click.Context, __: click.Parameter, text: str) -> int | None:
    if text == "all":
        return None
    if not re.fullmatch(r"0*[1-9]\d{0,8}", text):
        raise click.BadParameter(f"{text!r} must be a number above 0, or all")
    return int(text)


def _history(options: Options, directory: Path) -> None:
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.ledger import records

    with connect(database_url(directory, options.schema)) as connection:
        rows, older = records.read(connection, options.limit)
    if options.json:
        print_document(records=[record.to_json() for record in rows], older=older)
        return
    print("\n".join(records.table(rows)) if rows else "the ledger is empty")
    if older:
        print(f"… {older:,} older rows: --limit {len(rows) + older} or --limit all")


def _schema(options: Options, directory: Path) -> None:
    from pulumi_alembic.review.build import database
    from pulumi_alembic.review.rehearsal import artifact

    url = database_url(directory)
    schema = artifact.take(url, database(url))
    text = json_text(schema.to_json()) + "\n"
    if options.output is None:
        sys.stdout.write(text)
    else:
        try:
            with open(options.output, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                # An existing file can be readable by others.
                os.fchmod(file.fileno(), 0o600)
                file.write(text)
        except OSError as error:
            raise MigrationError(f"cannot write {str(options.output)!r}: {error.strerror}") from None
        tell(f"wrote {options.output}")
    if schema.not_rehearsed:
        print(f"the file has no definitions, so its reports are not rehearsed: {schema.not_rehearsed}", file=sys.stderr)


def _marker(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9_](?:[-./]?[A-Za-z0-9_]+)*", name):
        raise click.BadParameter(f"{name!r} must be letters, digits and _, joined by single - . /")
    return name


def _report(options: Options, _: Path) -> int:
    from pulumi_alembic.review import report

    try:
        preview = _reported(options)
    except report.PreviewError as error:
        raise MigrationError(f"{options.file or 'standard input'}: {error}") from None
    verdict = report.judge(preview)
    if options.format == "json":
        text = json_text(report.document(preview, verdict), indent=2) + "\n"
    else:
        text = report.comment(preview, verdict, options.marker or report.MARKER)
    # A report is a file, so it is UTF-8 in every terminal.
    sys.stdout.buffer.write(printable(text).encode())
    return 3 if options.fail_on and verdict.level.reaches(options.fail_on) else 0


def _reported(options: Options) -> Any:
    from pulumi_alembic.review import report

    if options.rehearse_with and options.schema is None:
        raise MigrationError("--rehearse-with needs --schema FILE")
    if options.schema is not None:
        return _of_schema(options)
    return _of_database(options) if options.database else report.read(_preview(options.file))


def _of_schema(options: Options) -> Any:
    from pulumi_alembic.review import build, report
    from pulumi_alembic.review.rehearsal.artifact import Artifact

    if options.file is not None or options.database:
        raise MigrationError("--schema cannot be combined with FILE or --database")
    try:
        artifact = Artifact.from_json(json.loads(_preview(str(options.schema))))
    except (ValueError, RecursionError):
        raise MigrationError(f"{options.schema}: not a file of pulumi-alembic schema") from None
    except MigrationError as error:
        raise MigrationError(f"{options.schema}: {error}") from None
    directory = options.directory or script_directory()
    return report.of_review(
        build.review_from_artifact(artifact, directory, options.target, options.rehearse_with, tell)
    )


def _of_database(options: Options) -> Any:
    from pulumi_alembic.database.connection import as_itself
    from pulumi_alembic.review import build, report
    from pulumi_alembic.review.lint.settings import Settings

    if options.file is not None:
        raise MigrationError("--database cannot be combined with FILE")
    directory = options.directory or script_directory()
    url = database_url(directory)
    with as_itself():
        _, review = build.review_from_database(Job(url, directory, options.target), Settings())
    return report.of_review(review)


def _preview(file: str | None) -> bytes:
    if file is not None and file != "-":
        try:
            return Path(file).read_bytes()
        except (OSError, ValueError) as error:
            raise MigrationError(f"cannot read {file!r}: {getattr(error, 'strerror', None) or error}") from None
    if sys.stdin.isatty():
        raise MigrationError(
            "no FILE, and stdin is a terminal. Pipe a preview in:\n  pulumi preview --json | pulumi-alembic report"
        )
    return sys.stdin.buffer.read()


_TARGET = argument("target", metavar="[TARGET]", default=HEAD)
_NO_BASELINE = flag("--no-baseline", "Run all revisions in an empty database too.")

group = click.Group(
    "pulumi-alembic",
    help="Run, review and record the revisions of a stack. Like `alembic`, it reads the scripts' folder from "
    "pyproject.toml or alembic.ini, and the database from DATABASE_URL or env.py.",
    params=[flag("--quiet", "Print results and errors only.")],
    commands=[
        command(_manifest, "Write the manifest for the scripts as they are now."),
        command(
            _accept,
            "Accept the edited script of an applied revision.",
            argument("revision", metavar="ID"),
            option(
                "--reason",
                "Why the edit changes nothing that was applied; recorded in the ledger.",
                required=True,
            ),
            TENANT,
        ),
        command(_capsule, "Show the stored script of an applied revision.", argument("revision", metavar="ID"), TENANT),
        command(
            _plan, "Show what `upgrade` would run; change nothing.", _TARGET, _NO_BASELINE, AS_JSON, TENANT, SHARED
        ),
        command(
            _upgrade,
            "Upgrade the database to a revision. Lint, approval, backups and the other gates of a stack are not asked.",
            _TARGET,
            _NO_BASELINE,
            AS_JSON,
            TENANT,
            SHARED,
        ),
        command(
            _contract,
            "Run the contracts that are held: no code of the previous version runs any longer.",
            option("--reason", "Why they can run; recorded in the ledger.", required=True),
            TENANT,
            SHARED,
        ),
        command(
            _lint,
            "Lint the scripts, upgrades and downgrades, without a database.",
            argument("revisions", metavar="[REVISION]...", nargs=-1),
            AS_JSON,
            option(
                "--fail-on",
                "Exit with 1 if a finding has this severity or a higher one.",
                type=click.Choice(("warning", "error")),
                default="error",
                show_default=True,
            ),
            option(
                "--severity",
                "Set the severity of a rule: error, warning, info or off.",
                metavar="RULE=SEVERITY",
                multiple=True,
            ),
            flag("--rules", "Print the rules instead."),
        ),
        command(
            _history,
            "Show the ledger of the database, newest first.",
            AS_JSON,
            option(
                "--limit", "The newest N rows, or `all`.", default="50", metavar="N", callback=_limit, show_default=True
            ),
            TENANT,
        ),
        backfills.GROUP,
        new.GROUP,
        *backups.COMMANDS,
        *kept.COMMANDS,
        *drift.COMMANDS,
        *status.COMMANDS,
        *baselines.COMMANDS,
        command(
            _schema,
            "Write the schema of the database to a file, for `report --schema`.",
            option(
                "--output",
                "A file that only this user can read; by default standard output.",
                type=Path,
                metavar="FILE",
            ),
        ),
        command(
            _report,
            "Write a report for a pull request from the output of `pulumi preview --json`. The verdict is `error` "
            "if the preview failed or a finding is an error. It is `warning` if a finding is a warning, data or a "
            "resource is deleted, a resource is replaced, or a revision's SQL is unknown. Otherwise it is `ok`. If "
            "the preview cannot be read, there is no report, and the exit code is 1.",
            argument("file", metavar="[FILE]", required=False),
            flag(
                "--database",
                "Report on DATABASE_URL instead of a preview: reads no state, and needs no right to read a table.",
            ),
            option(
                "--schema",
                "Report on a file of `pulumi-alembic schema` instead of a preview: reads neither a database nor a "
                "state.",
                metavar="FILE",
                type=Path,
            ),
            option(
                "--rehearse-with",
                "With --schema: rehearse on this server, with a login that can create databases and roles. The "
                "roles of the schema are created there and dropped afterwards. Set the password in PGPASSWORD.",
                metavar="URL",
                default="",
            ),
            option("--target", "With --database or --schema: the target revision.", default=HEAD, show_default=True),
            option(
                "--format",
                "How to write it.",
                type=click.Choice(("markdown", "json")),
                default="markdown",
                show_default=True,
            ),
            option(
                "--fail-on", "Exit with 3 if the verdict is this or worse.", type=click.Choice(("warning", "error"))
            ),
            option(
                "--marker",
                "The name in the comment's first line, <!-- NAME -->, by which a comment is found and updated; by "
                "default pulumi-alembic-report. Give each stack that reports to one pull request its own name.",
                metavar="NAME",
                callback=_marker,
            ),
            scripts=False,
        ),
    ],
)
click.version_option(package_name="pulumi-alembic")(group)
