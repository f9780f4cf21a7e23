"""A run has the same result as plain Alembic: random revisions on two databases, one process per plain revision.

`make test-all` draws 2,000 plans, and the default suite draws a few. `DRAWS=26:27` repeats draw 26.
"""

import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from pulumi_alembic.database.connection import read_heads
from pulumi_alembic.database.fingerprint import read_lines
from pulumi_alembic.errors import HistoryError, MigrationError
from pulumi_alembic.policy import Policy
from taskdb.local import Server
from tests.conftest import ALL, Database
from tests.postgres.alembic import plain, steps
from tests.postgres.alembic.conftest import ENV, Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.revisions import SCHEMA, Draw

FIRST, LAST = map(int, os.environ.get("DRAWS", "0:2000" if ALL else "0:6").split(":"))
PART = 500
"""The number of draws in one test."""

IDS = [f"2025010{number}_00{number}" for number in range(1, 4)]

ALLOWED = {
    "data guard": "it would delete",
    "an end of the transaction": "not for the script to (?:end|commit)|ended its transaction by commit",
    "a statement outside a transaction": "in the wrong place|autocommit block|another one than the revision builds",
    "a block that is not the first": "split (?:it|the revision)|put it before",
    "a savepoint beside what shows nothing": "an op.execute",
    "its own version table": "cannot be recorded",
}
"""Refusals that the documentation names, although plain Alembic runs these revisions.

Apart from the refusals, these differences are allowed. The schemas `migrations` (except the heads) and `kept`. The
settings of the session that this library makes: `lock_timeout` and those of the connection. Changes that a script makes
in Python itself: module variables and the environment. lastval() after a block, because the ledger has rows of the
block. The isolation level of a transaction: plain Alembic has read the heads in the transaction, so a revision cannot
set it.

A script's own setting, such as `my.setting`, is empty in the next revision and not unknown, because PostgreSQL forgets
its value but not its name. After a refusal a sequence has advanced, because its transaction has run and no rollback
resets it.
"""

CLEAR = """
RESET ROLE; SET ROLE {owner};
DROP SCHEMA IF EXISTS app, other CASCADE; CREATE SCHEMA app;
DROP TABLE IF EXISTS migrations.alembic_version, migrations.ledger, migrations.batches CASCADE;
DROP SCHEMA IF EXISTS kept CASCADE; CREATE SCHEMA kept; SET search_path = app;
"""


@dataclass(frozen=True)
class Pair:
    """The database that this library migrates, and its twin."""

    ours: Target
    twin: Target

    def both(self) -> Iterator[Target]:
        """Yield our database first, then the twin."""
        yield self.ours
        yield self.twin


@pytest.fixture
def pair(make_target: Callable[[Path], Target], tmp_path: Path, server: Server) -> Pair:
    found = Pair(make_target(tmp_path), make_target(tmp_path))
    for target in found.both():
        name = target.url.rpartition("/")[2]
        with Database(server, name).connect() as admin:
            admin.execute(f"GRANT CREATE, TEMPORARY ON DATABASE {name} TO {owner(target)}".encode())
    return found


def owner(target: Target) -> str:
    return target.url.rpartition("/")[2] + "_owner"


def clear(target: Target) -> None:
    with psycopg.connect(target.url, autocommit=True) as connection:
        connection.execute(CLEAR.format(owner=owner(target)).encode())
        connection.execute(SCHEMA.encode())


def state(target: Target, *, gaps: bool) -> dict[str, Counter[str]]:
    """Return catalog lines, rows and heads. With `gaps`, omit sequences, which no rollback resets."""
    with connect(target.url) as connection:
        lines = [line.replace(target.url.rpartition("/")[2], "database") for line in read_lines(connection)]
        kinds = "'r', 'm'" if gaps else "'r', 'm', 'S'"
        tables = connection.execute(
            rf"SELECT oid::regclass::text FROM pg_class WHERE relkind IN ({kinds}) AND relpersistence = 'p' AND "
            r"relnamespace::regnamespace::text !~ '^(pg_|information_schema|migrations|kept)' AND relispopulated "
            "ORDER BY 1"
        ).fetchall()
        connection.execute("SET DateStyle = ISO; SET TimeZone = UTC; SET extra_float_digits = 1")
        rows = [
            f"{name}: {row}"
            for (name,) in tables
            for (row,) in connection.execute(
                f"SELECT (to_jsonb(t) - 'log_cnt')::text FROM (SELECT * FROM {name}) t".encode()
            )
        ]
        return {"catalog": Counter(lines), "rows": Counter(rows), "heads": Counter(read_heads(connection))}


@dataclass
class Ran:
    """The results of the draws."""

    counts: Counter[str]

    def draw(self, seed: int, pair: Pair, folder: Path) -> str:
        """Run one draw on both databases, and return the difference as text, empty if there is none."""
        made = Draw(seed)
        ids = IDS[: made.random.choice((1, 2, 2, 3))]
        ours, theirs = folder / "ours", folder / "plain"
        (ours / "versions").mkdir(parents=True)
        theirs.mkdir()
        (ours / "env.py").write_text(ENV)
        (theirs / "env.py").write_text(plain.ENV)
        for id, text in made.scripts(ids).items():
            (ours / "versions" / f"{id}_drawn.py").write_text(text)
        shutil.copytree(ours / "versions", theirs / "versions")
        for target in pair.both():
            clear(target)
        may_lose = frozenset(ids) if made.random.random() < 0.5 else frozenset()
        steps_down = len(ids) if made.random.random() < 0.3 else 0
        found = self._walk(pair, folder, ids, "upgrade", may_lose)
        if not found and steps_down and read(pair.ours) == (ids[-1],):
            self.counts["downgrades"] += 1
            found = self._walk(pair, folder, ids[::-1], "downgrade", may_lose)
        if not found and read(pair.ours) != ():
            self.counts["committed"] += 1
        self.counts.update(sorted(made.features))
        return found

    def _walk(self, pair: Pair, folder: Path, ids: list[str], verb: str, may_lose: frozenset[str]) -> str:
        steps.LOG.clear()
        message = ""
        target = Target(pair.ours.url, folder / "ours")
        try:
            target.migrate(
                ids[-1] if verb == "upgrade" else "base",
                allow_data_loss=may_lose,
                policy=Policy(lock_timeout=20.0, lock_deadline=20.0, count_timeout=20.0),
            )
        except HistoryError as error:
            self.counts["refused before the first"] += 1
            return "" if not steps.LOG else f"refused after it began: {error}"
        except MigrationError as error:
            message = str(error)
        logged = list(steps.LOG)
        refused = [name for name, words in ALLOWED.items() if re.search(words, message)]
        done = self._done(pair, ids, verb)
        log: list[tuple[int, str]] = []
        failed = ""
        for _ in range(done if refused else len(ids)):
            entries, failed = plain.run(pair.twin.url, owner(pair.twin), folder / "plain", verb)
            log += entries
            if failed:
                break
        self.counts["refused" if refused else "failed" if message else "whole"] += 1
        self.counts.update(refused)
        if refused and "DRAWS" in os.environ:
            print(message)
        if ended := _ends_aborted(_function(folder, ids[min(done, len(ids) - 1)], verb), logged, log):
            self.counts["an end of an aborted transaction"] += 1
            before, plain_before = (some[: some.index(step)] for some, step in zip((logged, log), ended, strict=True))
            return "" if before == plain_before else f"steps:\n  ours  {logged}\n  plain {log}"
        if (logged[: len(log)] if refused else logged) != log:
            return f"steps:\n  ours  {logged}\n  plain {log} {failed}\n{message}"
        if not refused and bool(message) != bool(failed):
            return f"ours {message or 'ends well'}, plain {failed or 'ends well'}"
        if refused and "autocommit_block" in _function(folder, ids[done], verb):
            # The revision's blocks stay, and the next run finds their results.
            return ""
        # In an aborted transaction plain Alembic names the last error, but the steps have logged the first.
        if failed and failed != psycopg.errors.InFailedSqlTransaction.sqlstate and failed not in message:
            return f"plain ends with {failed}, ours: {message}"
        return difference(pair, gaps=bool(refused))

    def _done(self, pair: Pair, ids: list[str], verb: str) -> int:
        heads = read(pair.ours)
        order = ids if verb == "upgrade" else ids[::-1]
        applied = order.index(heads[0]) + 1 if heads else 0
        return applied if verb == "upgrade" else len(ids) - applied


def _function(folder: Path, id: str, verb: str) -> str:
    upgrade, _, downgrade = (folder / "ours" / "versions" / f"{id}_drawn.py").read_text().partition("def downgrade")
    return upgrade if verb == "upgrade" else downgrade


def _ends_aborted(function: str, logged: list[tuple[int, str]], log: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Return the step in which the script commits an aborted transaction, as both logged it, or an empty list.

    PostgreSQL rolls the transaction back, and plain Alembic continues in a new one, without the revision's earlier
    changes.
    """
    for number, how in logged:
        commits = re.search(rf"steps\.\w+\({number}\):\n +.*\bcommit\(\)", function)
        if commits and how == psycopg.errors.InFailedSqlTransaction.sqlstate and (number, "ok") in log:
            return [(number, how), (number, "ok")]
    return []


def difference(pair: Pair, *, gaps: bool) -> str:
    """Return the difference of the two databases. With `gaps`, a sequence can have advanced further in one of them."""
    ours, twin = (state(target, gaps=gaps) for target in pair.both())
    for part in ours:
        if ours[part] != twin[part]:
            return f"{part}:\n  ours  {sorted(ours[part] - twin[part])}\n  plain {sorted(twin[part] - ours[part])}"
    return ""


def read(target: Target) -> tuple[str, ...]:
    with connect(target.url) as connection:
        return read_heads(connection)


# Plain Alembic's processes do not treat a warning as an error.
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("first", range(FIRST, LAST, PART))
def test_a_run_is_equal_to_plain_alembic(
    first: int, pair: Pair, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    ran = Ran(Counter())
    seeds = range(first, min(first + PART, LAST))
    found = {seed: text for seed in seeds if (text := ran.draw(seed, pair, tmp_path / f"draw-{seed}"))}
    print(f"draws {seeds}: {dict(ran.counts)}")
    record_property("equal to plain Alembic", dict(ran.counts))
    for seed in list(found)[:1]:
        scripts = sorted((tmp_path / f"draw-{seed}" / "ours" / "versions").glob("*.py"))
        differences = "\n\n".join(f"draw {number}: {text}" for number, text in found.items())
        pytest.fail("\n".join([differences, *(each.read_text() for each in scripts)]), pytrace=False)
    assert ran.counts["committed"] >= 0.3 * len(seeds) or "DRAWS" in os.environ
