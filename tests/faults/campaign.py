"""The history that the faults strike, the runs, and the checks after each of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from pulumi_alembic.scripts.history import History
from tests import forks
from tests.conftest import Database
from tests.faults.striking import Planned, Striker, Way
from tests.forks import Ended
from tests.postgres.alembic.catalog import OBJECTS
from tests.postgres.alembic.conftest import ENV, Target, prepare
from tests.postgres.alembic.waiting import until

REVISIONS = [f"2025010{n}_00{n}" for n in range(1, 6)]
HEAD, MIDDLE = REVISIONS[4], REVISIONS[1]
BLOCK = "with op.get_context().autocommit_block(): op.execute({!r})"
SCRIPTS = [
    (
        ["op.execute('CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL)')", "op.execute('CREATE SEQUENCE s')"],
        ["op.execute('DROP SEQUENCE s')", "op.execute('DROP TABLE t')"],
    ),
    (
        # A second or a partial run of this script is visible.
        [
            "op.execute('INSERT INTO t SELECT g, 0 FROM generate_series(1, 300) g')",
            "op.execute('UPDATE t SET n = n + 1')",
        ],
        ["op.execute('DELETE FROM t')"],
    ),
    (
        [BLOCK.format("CREATE INDEX CONCURRENTLY IF NOT EXISTS t_n ON t (n)")],
        [BLOCK.format("DROP INDEX CONCURRENTLY t_n")],
    ),
    (
        [
            BLOCK.format("ALTER TYPE mood ADD VALUE 'glad'"),
            "op.execute(\"ALTER TABLE t ADD COLUMN mood mood DEFAULT 'glad'\")",
            "op.execute('CREATE TABLE other (id int REFERENCES t)')",
        ],
        ["op.execute('DROP TABLE other')", "op.execute('ALTER TABLE t DROP COLUMN mood')"],
    ),
    (
        ["batched_update('t', 'n = n + 10')", "op.execute('ALTER TABLE t ADD CHECK (n < 1000)')"],
        [
            "batched_update('t', 'n = n + 100', where='id <= 200')",
            "op.execute('ALTER TABLE t DROP CONSTRAINT t_n_check')",
        ],
    ),
]

FACTS = f"""
SELECT * FROM ({OBJECTS.replace("ORDER BY 1", "")}) objects (fact)
UNION ALL SELECT format('enum %s', array_agg(enumlabel ORDER BY enumsortorder)) FROM pg_enum
UNION ALL SELECT format('invalid %s', indexrelid::regclass) FROM pg_index WHERE NOT indisvalid OR NOT indisready
UNION ALL SELECT 'head ' || version_num FROM migrations.alembic_version
ORDER BY 1
"""
APPLIED = "SELECT revision, direction FROM migrations.ledger WHERE event = 'applied' ORDER BY id"
LEFT = """
SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (
    SELECT oid FROM pg_database WHERE datname = current_database()))
  + (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
     AND backend_type = 'client backend')
"""


def write_history(directory: Path) -> Path:
    """Write the campaign's scripts, env.py and manifest."""
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text(ENV)
    for number, (up, down) in enumerate(SCRIPTS):
        id, before = REVISIONS[number], REVISIONS[number - 1] if number else None
        functions = "".join(
            f"\n\ndef {name}():\n" + "".join(f"    {line}\n" for line in lines)
            for name, lines in (("upgrade", up), ("downgrade", down))
        )
        (directory / "versions" / f"{id}_script.py").write_text(
            f'"""script {number + 1}"""\n\nfrom alembic import op\n\nfrom pulumi_alembic import batched_update\n\n'
            f"revision = {id!r}\ndown_revision = {before!r}\n{functions}"
        )
    History.load(directory).write_manifest()
    return directory


class Launcher(forks.Launcher):
    """The process whose forks are the clients."""

    def __init__(self, folder: Path) -> None:
        super().__init__("tests.faults.launcher", PGSSLMODE="disable", PGGSSENCMODE="disable")
        self._output = folder / "output"

    def run(self, on_started: Callable[[int], object] = lambda pid: None, **run: Any) -> Ended:
        self._output.unlink(missing_ok=True)
        code = self.start(run | {"output": str(self._output)}, on_started)
        return Ended(code, self._output.read_text() if self._output.exists() else "")


@dataclass(frozen=True)
class Site:
    """A database that the campaign resets before each fault."""

    database: Database
    target: Target

    @classmethod
    def new(cls, database: Database, directory: Path) -> Site:
        with Database(database.server, "postgres").connect() as admin:
            admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(database.name)))
        site = cls(database, prepare(database, directory))
        with site.as_owner() as owner:
            owner.execute("CREATE TYPE app.mood AS ENUM ('sad')")
        return site

    def as_owner(self) -> psycopg.Connection:
        connection = psycopg.connect(self.target.url, autocommit=True)
        connection.execute(f"SET ROLE {self.database.name}_owner".encode())
        return connection

    def empty(self) -> None:
        """Reset the database to its content before the first revision."""
        with self.as_owner() as owner:
            owner.execute(
                "SET client_min_messages = warning; DROP TABLE IF EXISTS app.other, app.t; "
                "DROP SEQUENCE IF EXISTS app.s; DROP TYPE app.mood; "
                "CREATE TYPE app.mood AS ENUM ('sad');"
                "DROP TABLE IF EXISTS migrations.alembic_version, migrations.ledger, migrations.batches"
            )

    def url_by(self, port: int) -> str:
        return self.target.url.replace(f":{self.database.server.port}/", f":{port}/")

    def facts(self) -> list[str]:
        """Return the schema, the rows and the heads, as lines."""
        with self.as_owner() as owner:
            found = [fact for (fact,) in owner.execute(FACTS.encode())]
            if owner.execute("SELECT to_regclass('app.t') IS NOT NULL").fetchone() == (True,):
                found += [f"row {row}" for row in owner.execute("SELECT * FROM app.t ORDER BY id").fetchall()]
        return found

    def applied(self) -> list[tuple[str, str]]:
        with self.as_owner() as owner:
            return owner.execute(APPLIED.encode()).fetchall()

    def deserted(self) -> bool:
        """Return whether no session and no advisory lock is left."""
        with self.database.connect() as admin:
            return admin.execute(LEFT.encode()).fetchone() == (0,)


@dataclass(frozen=True)
class Scenario:
    """A run, the revision before it, and the final content of the ledger."""

    before: str | None
    run: dict[str, Any]
    applied: list[tuple[str, str]]


UP = [(revision, "upgrade") for revision in REVISIONS]
SCENARIOS = {
    "upgrade": Scenario(None, {"arguments": ["upgrade"]}, UP),
    "downgrade": Scenario(
        HEAD,
        {"target": MIDDLE, "may_lose": REVISIONS[2:]},
        UP + [(revision, "downgrade") for revision in reversed(REVISIONS[2:])],
    ),
}


Strike = Callable[[Striker, Way, int], bool]
"""Causes the fault, given the striker, the connection and the client's process.

Returns whether the connection continues.
"""


@dataclass(frozen=True)
class Fault:
    """The event at one statement of a scenario: at the statement with this number, or at the first `planned` one."""

    scenario: str
    kind: str
    moment: str
    number: int = 0
    planned: Planned | None = None

    def __str__(self) -> str:
        return f"{self.scenario}: {self.kind} {self.moment} statement {self.number}"


class Campaign:
    """Runs scenarios on a site through a launcher."""

    def __init__(self, site: Site, launcher: Launcher, scenarios: Mapping[str, Scenario] = SCENARIOS) -> None:
        self.site = site
        self.launcher = launcher
        self.scenarios = scenarios
        self.first = Ended(0, "")
        self._clean: dict[str, tuple[list[str], list[str]]] = {}

    def clean(self, name: str) -> tuple[list[str], list[str]]:
        """Return the statements of an undisturbed run, and the facts after it."""
        if name not in self._clean:
            with self._striker() as striker:
                self._before(self.scenarios[name])
                ended = self._run(self.scenarios[name], self.site.url_by(striker.port))
            assert ended.code == 0, ended.output
            assert self.site.applied() == self.scenarios[name].applied
            facts = self.site.facts()
            assert not [fact for fact in facts if fact.startswith("invalid")]
            self._clean[name] = striker.statements, facts
        return self._clean[name]

    def survives(self, fault: Fault, strike: Strike, mend: Callable[[], object] = lambda: None) -> str | None:
        """Return an empty text if all is well after the fault and one more run, otherwise the problem.

        `mend` is called between the two runs. The result is None if the run ended before that statement, because the
        number of batches depends on timing.
        """
        scenario = self.scenarios[fault.scenario]
        _, facts = self.clean(fault.scenario)
        self._before(scenario)
        started: Future[int] = Future()
        with self._striker(fault) as striker:
            striker.strike = lambda way: strike(striker, way, started.result(60))
            first = self.first = self._run(scenario, self.site.url_by(striker.port), started.set_result)
        mend()
        if not striker.struck:
            return None
        at = f"{fault}, {striker.struck[:60]!r}"
        if first.code not in (0, 1, -9) or "Traceback" in first.output:
            return f"{at}: it ended with {first}"
        if first.code == 0 and self.site.facts() != facts:
            return f"{at}: it said that it was done: {first}"
        again = self._run(scenario, self.site.target.url)
        if again.code != 0:
            return f"{at}: the first run ended with {first}, the next one with {again}"
        if self.site.facts() != facts:
            return f"{at}: {sorted(set(self.site.facts()) ^ set(facts))[:8]} after {first} and {again}"
        if self.site.applied() != scenario.applied:
            return f"{at}: in the ledger is {self.site.applied()} after {first} and {again}"
        until(self.site.deserted)
        return self.beside() and f"{at}: {self.beside()} after {first} and {again}"

    def beside(self) -> str:
        """Return a problem outside the database after the next run, or an empty text."""
        return ""

    def _before(self, scenario: Scenario) -> None:
        self.site.empty()
        if scenario.before:
            made = self._run(SCENARIOS["upgrade"], self.site.target.url)
            assert made.code == 0, made.output

    def _striker(self, fault: Fault | None = None) -> Striker:
        server = self.site.database.server
        if fault is None:
            return Striker(server.host, server.port)
        planned = fault.planned or (lambda statements: len(statements) == fault.number)
        return Striker(server.host, server.port, planned, fault.moment)

    def _run(self, scenario: Scenario, url: str, on_started: Callable[[int], object] = lambda pid: None) -> Ended:
        directory = str(self.site.target.directory)
        return self.launcher.run(on_started, **scenario.run, url=url, directory=directory)


def fresh_name() -> str:
    return f"test_{secrets.token_hex(6)}"
