"""A process can die at any statement while rows are preserved or restored: the next run continues, with every row.

The tests strike a draw of the statements, and `make test-all` strikes all of them.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import psycopg
import pytest

from pulumi_alembic.migrate.data_loss.preserved_table import read
from pulumi_alembic.migrate.planner import read_revision
from pulumi_alembic.scripts.history import History
from taskdb.local import Server
from tests.conftest import Database
from tests.faults.campaign import Ended, Launcher, Site, fresh_name
from tests.faults.conftest import ALL, Count
from tests.faults.striking import Striker, Way
from tests.postgres.alembic.conftest import ENV
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.waiting import until

ONE, TWO = "20250101_001", "20250102_002"
DRAWN = 1

TABLES = """
CREATE TABLE app.people (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, boss int REFERENCES app.people, name text);
CREATE TABLE app.posts (id serial PRIMARY KEY, author int REFERENCES app.people, feels app.mood DEFAULT 'sad');
ALTER TABLE app.stays ADD COLUMN goes text
"""
ROWS = """
INSERT INTO app.people (boss, name) SELECT nullif(n - 1, 0), 'p' || n FROM generate_series(1, 400) n;
INSERT INTO app.posts (author) SELECT id FROM app.people;
INSERT INTO app.stays SELECT n, 'g' || n FROM generate_series(1, 400) n
"""
DROPS = ("DROP TABLE app.posts", "DROP TABLE app.people", "ALTER TABLE app.stays DROP COLUMN goes")
DIGEST = """
SELECT (SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM app.people t),
    (SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM app.posts t),
    (SELECT md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM app.stays t),
    (SELECT last_value FROM app.people_id_seq), (SELECT last_value FROM app.posts_id_seq)
"""
WAYS = {"the keep": (TWO, ONE), "the return": (ONE, TWO)}


class Kept:
    """A database with four hundred rows in each table, at TWO, and the clients that migrate it."""

    def __init__(self, site: Site, launcher: Launcher) -> None:
        self.site = site
        self.launcher = launcher
        self._statements: dict[str, int] = {}
        with site.as_owner() as owner:
            owner.execute("CREATE TABLE app.stays (id int PRIMARY KEY)")
        self.run(TWO)
        with site.as_owner() as owner:
            owner.execute(ROWS.encode())
            self.digest = owner.execute(DIGEST.encode()).fetchone()

    def run(self, target: str, url: str = "", on_started: object = lambda pid: None) -> Ended:
        directory = str(self.site.target.directory)
        known = {"target": target, "may_lose": [], "directory": directory, "url": url or self.site.target.url}
        return self.launcher.run(on_started, **known)  # type: ignore[arg-type]

    def wrong(self, target: str) -> str:
        """Return the differences from the expected content at `target`."""
        if read_revision(self.site.target.url) != target:
            return f"at {read_revision(self.site.target.url)}"
        with connect(self.site.target.url) as connection:
            kept = sorted(f"{each.described(each.rows)} {each.why}" for each in read(connection))
            if target == ONE:
                expected = ["400 rows of app.people", "400 rows of app.posts", "400 values of app.stays.goes"]
                return "" if kept == [f"{each} {{}}" for each in expected] else f"kept: {kept}"
            found = connection.execute(DIGEST.encode()).fetchone()
            return "" if (found, kept) == (self.digest, []) else f"{found}, kept: {kept}"

    def statements(self, before: str, after: str) -> int:
        """Return the number of statements of an undisturbed run. Afterwards the database is at `before` again."""
        if after in self._statements:
            return self._statements[after]
        self.run(before)
        server = self.site.database.server
        with Striker(server.host, server.port) as striker:
            self.run(after, self.site.url_by(striker.port))
        assert not self.wrong(after), self.wrong(after)
        self.run(before)
        assert not self.wrong(before), self.wrong(before)
        self._statements[after] = len(striker.statements)
        return self._statements[after]

    def survives(self, kind: str, before: str, after: str, number: int) -> str | None:
        """Return an empty text if all is well after a strike at that statement, one more run, and the reverse run."""
        self.run(before)
        started: Future[int] = Future()
        server = self.site.database.server

        def strike(way: Way) -> bool:
            if kind == "SIGKILL":
                os.kill(started.result(60), signal.SIGKILL)
                return False
            with psycopg.connect(self.site.target.url, autocommit=True) as login:
                login.execute("SELECT pg_terminate_backend(%s)", [way.pid])
            return True

        def planned(statements: list[str]) -> bool:
            return len(statements) == number

        with Striker(server.host, server.port, planned, "before" if number % 2 else "during", strike) as striker:
            first = self.run(after, self.site.url_by(striker.port), started.set_result)
        if not striker.struck:
            return None
        at = f"{kind} at statement {number} from {before}, {striker.struck[:60]!r}: {first.output[-300:]}"
        until(self.site.deserted)
        between = read_revision(self.site.target.url)
        if problem := self.wrong(between):
            return f"{at}: before the next run: {problem}"
        again = self.run(after)
        for target in (after, before):
            if problem := self.wrong(target):
                return f"{at}: {again}: {problem}"
            again = self.run(before)
        return ""


@pytest.fixture(scope="module")
def kept(server: Server, tmp_path_factory: pytest.TempPathFactory, launcher: Launcher) -> Iterator[Kept]:
    directory = tmp_path_factory.mktemp("kept") / "migrations"
    write(directory)
    database = Database(server, fresh_name())
    site = Site.new(database, directory)
    with database.connect() as admin:
        admin.execute(f'CREATE SCHEMA kept AUTHORIZATION "{database.name}_owner"'.encode())
    yield Kept(site, launcher)


def write(directory: Path) -> None:
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text(ENV)
    ups, downs = {ONE: ["SELECT 1"], TWO: [TABLES]}, {ONE: ["SELECT 1"], TWO: DROPS}
    for id, before in ((ONE, None), (TWO, ONE)):
        functions = "".join(
            f"\n\ndef {name}():\n" + "".join(f"    op.execute({each!r})\n" for each in statements)
            for name, statements in (("upgrade", ups[id]), ("downgrade", downs[id]))
        )
        (directory / "versions" / f"{id}_script.py").write_text(
            f'"""script"""\n\nfrom alembic import op\n\nrevision = {id!r}\ndown_revision = {before!r}\n{functions}'
        )
    History.load(directory).write_manifest()


@pytest.mark.few("the keep-SIGKILL", "the return-pg_terminate_backend")
@pytest.mark.parametrize("kind", ["SIGKILL", "pg_terminate_backend"])
@pytest.mark.parametrize("way", WAYS)
def test_no_row_is_missing_after_a_failure_at_any_statement(way: str, kind: str, kept: Kept, count: Count) -> None:
    before, after = WAYS[way]
    numbers = range(1, kept.statements(before, after) + 1)
    chosen = numbers if ALL else random.Random(3).sample(numbers, len(numbers))
    count((kept.survives(kind, before, after, number) for number in chosen), DRAWN)
