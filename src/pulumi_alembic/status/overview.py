"""The status of each stack of a project, with its problems and a command for each problem."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pulumi_alembic.database.reachable import address
from pulumi_alembic.errors import DatabaseError, MigrationError, TargetError
from pulumi_alembic.output.wording import counted
from pulumi_alembic.scripts import phases
from pulumi_alembic.scripts.history import BASE, HEAD, History
from pulumi_alembic.scripts.plan import Direction, Plan, plan, revision_text
from pulumi_alembic.status import passphrase, reading, states

__all__ = ["Guide", "Problem", "Status", "survey"]

_RECORDS = 200
"""How many of the newest records of each ledger are read."""


@dataclass(frozen=True)
class Problem:
    """A problem of a stack, and the safest command that helps."""

    text: str
    command: str


@dataclass(frozen=True)
class Guide:
    """Facts about a project's stacks that this library does not know.

    Attributes:
        engine: The path of the program with Pulumi's verbs.
        target: Returns the revision that a stack is pinned to, or `head`.
        start: Returns the command that starts the server at an address. Empty if it is not known.

    """

    engine: str = "pulumi"
    target: Callable[[str], str] = lambda _: HEAD
    start: Callable[[str], str] = lambda _: ""

    def command(self, verb: str, stack: str) -> str:
        """Return a command line for a stack."""
        return f"{Path(self.engine).name} {verb} --stack {shlex.quote(stack)}"


@dataclass(frozen=True)
class Status:
    """The status of one database of one stack. A field is None or empty if its value is not known.

    Attributes:
        revision: The database's revision, or the state's if `is_read` is false.
        is_read: Whether the database was read.
        pending: How many revisions lead to the stack's target, without contracts that are not due.
        downgrade: Whether they are downgrades.
        held: How many revisions are behind the target.
        waits: By contract that is not due, until when it waits.
        drift: How many objects differed when an update or a refresh last compared them.
        backup: When the last backup was taken.
        drifted: Pairs of an object's name and its differences.

    """

    stack: str
    name: str = ""
    server: str = ""
    revision: str = ""
    is_read: bool = False
    pending: int | None = None
    downgrade: bool = False
    held: int | None = None
    waits: Mapping[str, str] = field(default_factory=dict)
    drift: int | None = None
    update: states.Update | None = None
    backup: datetime | None = None
    problems: tuple[Problem, ...] = ()
    read: reading.Reading | None = field(default=None, repr=False, compare=False)
    drifted: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the status as JSON values, with times in ISO 8601."""
        update = self.update
        return {
            "stack": self.stack,
            "name": self.name,
            "server": self.server,
            "serverVersion": self.read.server if self.read else None,
            "revision": self.revision,
            "fromDatabase": self.is_read,
            "pending": self.pending,
            "downgrade": self.downgrade,
            "held": self.held,
            "waiting": [{"revision": revision, "until": until} for revision, until in self.waits.items()],
            "backfills": [backfill.to_json() for backfill in self.read.backfills] if self.read else [],
            "drift": self.drift,
            "lastUpdate": update
            and {
                "kind": update.kind,
                "result": update.result,
                "when": update.when.isoformat(),
                "person": update.person,
                "commit": update.commit,
            },
            "lastLook": update.looked.isoformat() if update and update.looked else None,
            "backup": self.backup.isoformat() if self.backup else None,
            "problems": [{"text": problem.text, "command": problem.command} for problem in self.problems],
        }


def survey(project: Path, guide: Guide, *, with_catalog: bool = False) -> tuple[Status, ...]:
    """Return the status of every database of every stack, by stack. All stacks are read at the same time.

    Args:
        project: The directory of the program, with Pulumi.yaml.
        guide: Facts about the project's stacks.
        with_catalog: Whether to read each database's catalog too, for its diagram.

    Raises:
        MigrationError: There is no project, or its states cannot be read. Any other error is a problem in the status
            of its stack.

    """
    all_states = states.read(project, guide.engine)
    with ThreadPoolExecutor(max(1, len(all_states))) as pool:
        listed = pool.map(lambda state: tuple(_statuses(project, state, guide, with_catalog)), all_states)
        return tuple(status for statuses in listed for status in statuses)


def _statuses(project: Path, state: states.State, guide: Guide, with_catalog: bool) -> Iterator[Status]:
    if not state.has_state:
        yield Status(state.stack, update=state.update, problems=tuple(_without_state(state, guide)))
        return
    if not state.migrations:
        yield Status(state.stack, update=state.update, problems=tuple(_of_the_stack(state, guide)))
    decrypt = passphrase.decrypter(state.stack, state.salt) if state.salt and _has_secret(state) else None
    for migrated in state.migrations:
        yield _status(project, state, migrated, guide, (decrypt, with_catalog))


def _has_secret(state: states.State) -> bool:
    return any(migrated.is_secret for migrated in state.migrations)


def _status(
    project: Path,
    state: states.State,
    migrated: states.Migrated,
    guide: Guide,
    how: tuple[Callable[[str], str] | None, bool],
) -> Status:
    decrypt, with_catalog = how
    problems = list(_of_the_stack(state, guide))
    history, unreadable = _scripts(project / migrated.directory)
    url, server, read = migrated.url, "", None
    if migrated.is_secret and decrypt:
        url = str(json.loads(decrypt(url)))
    if migrated.is_secret and not decrypt:
        problems.append(_locked(state))
    elif url:
        server = address(url)
        try:
            # The URL of a fan-out names a database in which no revision runs.
            if not migrated.revisions:
                ids = [*history.revisions] if history else []
                read = reading.read(url, ids, most=_RECORDS, with_catalog=with_catalog)
        except DatabaseError as error:
            problems.append(Problem(str(error), guide.start(server) or guide.command("preview", state.stack)))
    places = [_heads(revision) for revision in migrated.revisions] or [
        read.heads if read else _heads(migrated.revision)
    ]
    pending, held, downgrade, waits = None, None, False, dict[str, str]()
    problems += unreadable
    if history:
        try:
            target = history.resolve(guide.target(state.stack))
            plans = [plan(history, heads, target) for heads in places]
            downgrade = any(steps.steps and steps.direction is Direction.DOWNGRADE for steps in plans)
            held = len(history.revisions) - len(plans[0].applied)
            if read:
                waits, blocked = _waiting(plans[0], history, read)
                problems += blocked
            pending = max(len(steps.steps) for steps in plans) - len(waits)
        except TargetError as error:
            problems.append(_unknown(history, places, error, guide, state))
        except MigrationError as error:
            problems.append(_broken(error))
    problems += _of_the_database(state, migrated, read, guide)
    return Status(
        stack=state.stack,
        name=migrated.name,
        server=server,
        revision=_revision(migrated, read),
        is_read=read is not None,
        pending=pending,
        downgrade=downgrade,
        held=held,
        waits=waits,
        drift=len(migrated.drift) if state.update and state.update.looked else None,
        update=state.update,
        backup=read.backup if read else None,
        problems=tuple(problems),
        read=read,
        drifted=tuple((name, tuple(lines)) for name, lines in migrated.drift.items()),
    )


def _scripts(directory: Path) -> tuple[History | None, list[Problem]]:
    try:
        return History.load(directory), []
    except MigrationError as error:
        return None, [_broken(error)]


def _broken(error: MigrationError) -> Problem:
    return Problem(str(error).splitlines()[0], "pulumi-alembic manifest")


def _waiting(steps: Plan, history: History, read: reading.Reading) -> tuple[dict[str, str], list[Problem]]:
    """The contracts of a plan that are not due, and until when; a problem if an expand builds on one of them."""
    try:
        return dict(phases.hold(steps, history, phases.Contracts(read.contract), read.applied).waits), []
    except TargetError as error:
        return {}, [Problem(str(error).splitlines()[0].rstrip(":"), phases.COMMAND)]


def _heads(revision: str) -> tuple[str, ...]:
    return tuple(head for head in revision.split("+") if head and head != BASE)


def _revision(migrated: states.Migrated, read: reading.Reading | None) -> str:
    if migrated.revisions:
        return ", ".join(f"{count} at {revision}" for revision, count in sorted(migrated.revisions.items()))
    return revision_text(read.heads) if read else migrated.revision


def _without_state(state: states.State, guide: Guide) -> Iterator[Problem]:
    destroyed = state.update and state.update.kind == "destroy" and state.update.result == "succeeded"
    if state.update is None or destroyed:
        return
    if state.backup:
        command = guide.command(f"stack import --file {shlex.quote(str(state.backup))}", state.stack)
        yield Problem("its state is lost; the backend has a backup of it", command)
    else:
        yield Problem("its state is lost, and the backend has no backup of it", guide.command("preview", state.stack))


def _of_the_stack(state: states.State, guide: Guide) -> Iterator[Problem]:
    if state.pending:
        yield Problem(
            f"an update ended before {state.pending} of its operations did", guide.command("refresh", state.stack)
        )
    elif state.update and state.update.result == "failed":
        yield Problem(f"its last {state.update.kind} failed", guide.command("preview --diff", state.stack))


def _locked(state: states.State) -> Problem:
    if not state.salt:
        return Problem(
            f"its secrets are protected by {state.provider or 'nothing known'}: only its state is shown",
            f"pulumi stack output --stack {shlex.quote(state.stack)}",
        )
    name = passphrase.variable(state.stack)
    return Problem(
        "no passphrase in the environment is this stack's: only its state is shown", f"export {name}_FILE=FILE"
    )


def _unknown(
    history: History, places: list[tuple[str, ...]], error: TargetError, guide: Guide, state: states.State
) -> Problem:
    missing = [head for heads in places for head in heads if head not in history.revisions]
    if missing:
        return Problem(
            f"it is at revision {', '.join(missing)}, which the scripts here do not have",
            f"git log --all --oneline -- '*{missing[0]}*'",
        )
    if len(history.heads) > 1:
        return Problem(f"the scripts have {len(history.heads)} heads", history.merge_command(history.heads))
    return Problem(str(error).splitlines()[0], guide.command("preview", state.stack))


def _of_the_database(
    state: states.State, migrated: states.Migrated, read: reading.Reading | None, guide: Guide
) -> Iterator[Problem]:
    look = guide.command("preview --refresh --diff", state.stack)
    if read and migrated.revision and not migrated.revisions and revision_text(read.heads) != migrated.revision:
        yield Problem(
            f"it is at {revision_text(read.heads)}, and its last update left {migrated.revision}",
            look,
        )
    if read and read.records and read.records[0].result.startswith("failed: "):
        yield Problem(f"the newest run failed: {read.records[0].what}", guide.command("preview", state.stack))
    if migrated.failures:
        yield Problem(
            f"{len(migrated.failures)} of its databases or schemas failed", guide.command("preview", state.stack)
        )
    if migrated.drift:
        differ = f"{counted(len(migrated.drift), 'object')} {'differs' if len(migrated.drift) == 1 else 'differ'}"
        yield Problem(f"{differ} from what its last update left", look)
