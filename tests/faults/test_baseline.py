"""The client, its session or its network dies at a statement of a start from a baseline: the next run succeeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pulumi_alembic.baselines import writing
from pulumi_alembic.scripts.history import History
from taskdb.local import Server
from tests.conftest import Database
from tests.faults.campaign import Campaign, Fault, Launcher, Scenario, Site, fresh_name
from tests.faults.conftest import Count, share
from tests.faults.test_clients_and_network import KINDS, faults, survives
from tests.postgres.alembic.backing_up import require_clients
from tests.postgres.alembic.conftest import ENV

SHARES = 8
DRAWN = 1

ONE, TWO, THREE = (f"2025010{number}_00{number}" for number in range(1, 4))

SCRIPTS = {
    ONE: "CREATE TABLE t (id serial PRIMARY KEY, n int); INSERT INTO t (n) SELECT g FROM generate_series(1, 300) g",
    TWO: "CREATE SEQUENCE s; UPDATE t SET n = n + 1",
    THREE: "CREATE TABLE other (id int REFERENCES t)",
}

EMPTY = """
SET client_min_messages = warning;
DROP TABLE IF EXISTS app.other, app.t, migrations.alembic_version, migrations.ledger; DROP SEQUENCE IF EXISTS app.s;
DROP TYPE IF EXISTS app.mood
"""


class EmptySite(Site):
    """A database in which only revisions have created objects."""

    def empty(self) -> None:
        with self.as_owner() as owner:
            owner.execute(EMPTY)


@pytest.fixture(scope="module")
def baseline(server: Server, launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Three revisions, two of which a baseline covers."""
    directory = tmp_path_factory.mktemp("baseline") / "migrations"
    write(directory)
    site = EmptySite.new(Database(server, fresh_name()), directory)
    require_clients(site.target)
    site.empty()
    admin = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"
    writing.write(site.target.url, admin, directory, TWO, lambda text: None)
    return Campaign(site, launcher, {"baseline": Scenario(None, {"arguments": ["upgrade"]}, [(THREE, "upgrade")])})


def write(directory: Path) -> None:
    (directory / "versions").mkdir(parents=True)
    (directory / "env.py").write_text(ENV)
    down = None
    for id, statement in SCRIPTS.items():
        (directory / "versions" / f"{id}_script.py").write_text(
            f'"""script {id}"""\nfrom alembic import op\nrevision = {id!r}\ndown_revision = {down!r}\n'
            f"def upgrade():\n    op.execute({statement!r})\ndef downgrade():\n    raise NotImplementedError\n"
        )
        down = id
    History.load(directory).write_manifest()


def load(statements: list[str]) -> bool:
    return statements[-1].startswith("-- pulumi-alembic baseline")


def commit(statements: list[str]) -> bool:
    return statements[-1].startswith("COMMIT") and any(load([statement]) for statement in statements)


@pytest.mark.few("SIGKILL of the client-load", "the connection is cut-commit")
@pytest.mark.parametrize("planned", [load, commit])
@pytest.mark.parametrize("kind", KINDS)
def test_a_baseline_is_loaded_whole_or_not_at_all(
    kind: str, planned: Callable[[list[str]], bool], baseline: Campaign, count: Count
) -> None:
    moments = KINDS[kind][1]
    count(survives(baseline, Fault("baseline", kind, moment, planned=planned)) for moment in moments)


@pytest.mark.full
@pytest.mark.parametrize("number", range(SHARES))
def test_the_next_run_converges_after_a_failure_at_any_statement(number: int, baseline: Campaign, count: Count) -> None:
    count((survives(baseline, fault) for fault in share(faults(baseline), number, SHARES)), DRAWN)
