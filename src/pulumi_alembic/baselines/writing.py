"""A revision built in scratch databases: twice by its scripts, with equal results, and once by its baseline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from pulumi_alembic.baselines.content import dump, portable, rows
from pulumi_alembic.database import server_message
from pulumi_alembic.database.connection import connect
from pulumi_alembic.database.pg_programs import Programs
from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.difference.snapshot import Snapshot
from pulumi_alembic.drift.reader import read
from pulumi_alembic.drift.report import listed, reported
from pulumi_alembic.errors import BaselineError, NotRehearsed
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.output.wording import counted
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.rehearsal.furniture import furnish
from pulumi_alembic.review.rehearsal.guard import kept_inside
from pulumi_alembic.review.rehearsal.scratch import at, scratch
from pulumi_alembic.review.rehearsal.source import client_for
from pulumi_alembic.scripts.baseline import COMMAND, Baseline
from pulumi_alembic.scripts.history import History

__all__ = ["check", "write"]

_BEFORE = r"""
SELECT 'SCHEMA', quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'EXTENSION', quote_ident(extname) FROM pg_extension
"""


def write(url: str, admin: str, directory: Path, target: str, tell: Callable[[str], None]) -> Baseline:
    """Write the baseline of the revision `target`, and list it in the manifest.

    `url` is the migrator's, of a database whose roles, schemas and extensions are those that revisions find: no table
    and no row of it is read. `admin` is a login of the same server that can create databases and become the owner.

    Raises:
        BaselineError: The scripts do not build the same each time, or a file of SQL cannot build it. No file was
            written.
        HistoryError: The manifest does not match the scripts. No file was written.

    """
    history = History.load(directory)
    builder = _builder(url, admin, history.without_baselines, target, tell)
    revisions = [builder.history.revisions[id] for id in builder.history.ancestors([builder.revision])]
    with _refusals():
        # Without default privileges only rights that scripts change are rights of their own in the dump.
        tell(f"running {counted(len(revisions), 'revision')} in a scratch database")
        dumped, before = builder.replayed_dump()
        baseline = Baseline.of(directory, revisions, portable(dumped, builder.roles, before))
        tell("running them again, and the baseline, to compare")
        scripted = builder.built()
        if different := _differing(rows(dumped), scripted.rows):
            raise BaselineError(_random(different))
        if "\r" in dumped:
            raise BaselineError("rows or definitions contain carriage returns, which git can change in a file")
        builder.compare(scripted, baseline)
    baseline.write()
    History.load(directory).write_manifest()
    return baseline


def check(url: str, admin: str, directory: Path, target: str, tell: Callable[[str], None]) -> Baseline:
    """Check that the baseline of the revision `target` builds what its scripts build. The arguments are as of `write`.

    Raises BaselineError, with what differs, if it does not, and HistoryError if there is none.
    """
    history = History.load(directory)
    history.require_manifest()
    builder = _builder(url, admin, history.without_baselines, target, tell)
    baseline = history.baselines.get(builder.revision)
    if baseline is None:
        raise BaselineError(f"there is no baseline of {builder.revision}. Write it:\n  {COMMAND} {builder.revision}")
    with _refusals():
        builder.compare(builder.built(), baseline)
    return baseline


@dataclass(frozen=True)
class _Built:
    """What is in a scratch database at the end."""

    snapshot: Snapshot
    rows: dict[str, Counter[str]]


@dataclass(frozen=True)
class _Builder:
    """Builds `revision` in scratch databases that are like that of `url`, by `history`."""

    url: str
    admin: str
    history: History
    revision: str
    client: Programs
    like: Snapshot
    roles: tuple[str, str]

    def replayed_dump(self) -> tuple[str, list[tuple[str, str]]]:
        """The dump of what the scripts build, and the schemas and extensions that were there before."""
        items = (item for item in self.like.items if item.kind != "default privileges")
        with self._scratch(Snapshot(tuple(items))) as url:
            with connect(url) as connection:
                before = [(str(kind), str(name)) for kind, name in connection.execute(_BEFORE).fetchall()]
            self._migrate(url, self.history)
            return dump(self.client, url, self.roles[0]), before

    def built(self, baseline: Baseline | None = None) -> _Built:
        """What an update builds in an empty database, by the scripts or by a baseline."""
        history = replace(self.history, baselines={baseline.revision: baseline} if baseline else {})
        with self._scratch(self.like) as url:
            self._migrate(url, history)
            filled = rows(dump(self.client, url, self.roles[0]))
            with connect(url) as connection:
                return _Built(read(connection, self.like.roles), filled)

    def compare(self, scripted: _Built, baseline: Baseline) -> None:
        """Raise BaselineError if the baseline builds something else than the scripts."""
        loaded = self.built(baseline)
        differences = reported(difference(_of_revisions(scripted.snapshot), _of_revisions(loaded.snapshot)))
        different = _differing(scripted.rows, loaded.rows)
        if differences or different:
            raise BaselineError(
                "\n  ".join([
                    f"a baseline of {self.revision} does not build what its scripts build:",
                    *listed((found.name, found.lines) for found in differences),
                    *different,
                ])
            )  # fmt: skip

    @contextmanager
    def _scratch(self, like: Snapshot) -> Iterator[str]:
        with scratch(self.admin, self.url, lambda server: self.client) as database:
            furnish(database, like)
            yield at(self.url, database.name)

    def _migrate(self, url: str, history: History) -> None:
        job = Job(
            url,
            history.manifest.path.parent,
            self.revision,
            f"{COMMAND} {self.revision}",
            # No other session is there to wait for, and nothing existed before.
            Policy(keep_data=False, backfill_in_update=_LONG),
            allow_data_loss=frozenset(history.revisions),
            history=history,
        )
        paths = [str(revision.path.absolute()) for revision in history.revisions.values()]
        with kept_inside(paths):
            migrator.migrate(job)


_LONG = 3600.0  # seconds


def _builder(url: str, admin: str, history: History, target: str, tell: Callable[[str], None]) -> _Builder:
    history.require_manifest()
    revision = history.resolve(target)
    if revision not in history.revisions:
        raise BaselineError(f"{revision} is no revision: a baseline is of one")
    with connect(url) as connection:
        [roles] = connection.execute("SELECT current_user::text, session_user::text").fetchall()
        like = read(connection, tell=tell)
        with _refusals():
            client = client_for(connection.info.server_version // 10000)
    owner, login = roles
    # It lists no baseline that is not written yet.
    history = replace(history, manifest=replace(history.manifest, exists=False))
    return _Builder(url, admin, history, revision, client, like, (owner, login))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except NotRehearsed as reason:
        raise BaselineError(str(reason)) from None
    except psycopg.Error as error:
        raise BaselineError(server_message.summary(error)) from None


def _of_revisions(snapshot: Snapshot) -> Snapshot:
    """Without what is of the database itself, whose name is another one each time."""
    of_database = {"database", "setting"}
    return Snapshot(
        tuple(
            item
            for item in snapshot.items
            if item.kind not in of_database and not of_database & {item.facts.get("kind"), item.facts.get("on")}
        )
    )


def _differing(one: dict[str, Counter[str]], other: dict[str, Counter[str]]) -> list[str]:
    """A line for each table whose rows differ; no value of them."""
    lines = []
    for name in sorted(one.keys() | other.keys()):
        here, there = one.get(name, Counter()), other.get(name, Counter())
        if count := max((here - there).total(), (there - here).total()):
            lines.append(f"{name}: {counted(count, 'row')} of {here.total() or there.total():,} differ")
    return lines


def _random(different: list[str]) -> str:
    return "\n  ".join(
        [
            "the scripts fill tables with other rows each time, from random values or the time, so no baseline can "
            "stand for them:",
            *different,
            f"Write the baseline of a revision before these rows:\n  {COMMAND} REVISION",
        ]
    )
