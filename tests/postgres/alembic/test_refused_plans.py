"""A refused plan leaves database, ledger and state unchanged, for one database and for many.

The default suite draws a few plans, and `make test-all` draws 200. The seed and the number of refusals by gate are
printed.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import Any

import pytest

from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.provider import MigrationsProvider
from taskdb.local import Server
from tests.conftest import ALL, Database
from tests.postgres.alembic.catalog import OBJECTS
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.tenants import Tenants, tenants_of

ONE = "20250101_001"
DRAWS = 200 if ALL else 5
"""The number of plans of each kind. Five means one plan of each kind, for one database."""
SEED = int(os.environ.get("SEED", random.SystemRandom().randrange(2**32) if ALL else 1))

GOOD = (
    ("op.execute('ALTER TABLE t ADD c{} int')", "op.execute('ALTER TABLE t DROP c{}')"),
    ("op.execute('CREATE TABLE n{} (id int PRIMARY KEY)')", "op.execute('DROP TABLE n{}')"),
    ("op.execute('INSERT INTO t VALUES ({})')", "op.execute('DELETE FROM t WHERE id = {}')"),
)
BAD = {
    "rehearsal": (
        "op.execute('ALTER TABLE taskz ADD x int')",
        "op.execute('ALTER TABLE t DROP gone')",
        "op.execute('SELEC 1')",
    ),
    "lint": ("op.execute('TRUNCATE t CASCADE')", "op.execute('GRANT SELECT ON t TO PUBLIC')"),
    "data loss": ("op.execute('DROP TABLE t')", "op.execute('ALTER TABLE t DROP x')"),
    "approval": ("op.execute('ALTER TABLE t ADD y int')",),
    "promotion": ("op.execute('ALTER TABLE t ADD y int')",),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "rehearsal": {},
    "lint": {"lint": {"grant-to-public": "error"}},
    "data loss": {},
    "approval": {"require_approval": True, "__approved": ""},
    "promotion": {"__lower": {"stack": "staging", "proof": ""}},
}
SAYS = {
    "rehearsal": "in the rehearsal, and nothing was changed",
    "lint": "nothing was run",
    "data loss": "the plan deletes data",
    "approval": "are not approved",
    "promotion": "unproven-revision",
}


def seen(target: Target) -> list[Any]:
    what = (OBJECTS, "SELECT * FROM migrations.alembic_version", "SELECT id, event FROM migrations.ledger ORDER BY id")
    return [*(target.query(each) for each in what), target.query("SELECT count(*), sum(id) FROM app.t")]


@pytest.fixture
def tenants(empty_target: Target, database: Database, server: Server) -> Any:
    with Database(server, "postgres").connect() as admin:
        if find_client(admin.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
    empty_target.write(
        ONE,
        None,
        "op.execute('CREATE TABLE t (id int, x int); INSERT INTO t VALUES (0, 1)')",
        "op.execute('DROP TABLE t')",
    )
    with tenants_of(database, empty_target, 2) as tenants:
        for name in tenants.names:
            tenants.at(name).migrate(ONE)
        yield tenants


def draw(rng: random.Random, target: Target, kind: str) -> str:
    """Write a plan of some good revisions and one bad revision at a random place, and return the id of the last."""
    for path in target.directory.glob("versions/2025020*"):
        path.unlink()
    (target.directory / "manifest").unlink(missing_ok=True)
    bodies = [rng.choice(GOOD) for _ in range(rng.randint(0, 3))]
    bodies.insert(rng.randint(0, len(bodies)), (rng.choice(BAD[kind]), "pass"))
    down = ONE
    for number, (up, back) in enumerate(bodies):
        id = f"2025020{number + 1}_{number + 1:03}"
        target.write(id, down, up.format(number), back.format(number))
        down = id
    return down


def test_a_refused_plan_changes_nothing(tenants: Tenants, server: Server) -> None:
    rng, refused = random.Random(SEED), Counter[str]()
    print(f"seed {SEED}")
    provider = MigrationsProvider()
    admin = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"
    for number in range(DRAWS):
        kind, many = list(BAD)[number % len(BAD)], number // len(BAD) % 2 == 1
        one = tenants.at(tenants.names[0])
        revision = draw(rng, one, kind)
        asked = {"url": one.url, "directory": str(one.directory), "target": revision, "__urn": f"urn{number}"}
        asked |= {"__rehearse_with": admin} if kind == "rehearsal" else {}
        asked |= SETTINGS[kind] | ({"databases": tenants.names} if many else {})
        before = [seen(tenants.at(name)) for name in tenants.names]
        planned = provider.check({}, {**asked, "__applying": True})
        reason = planned.failures[0].reason if planned.failures else ""
        if not reason:
            with pytest.raises(MigrationError) as caught:
                provider.create({**planned.inputs, **({"__rehearse_with": admin} if kind == "rehearsal" else {})})
            reason = str(caught.value)
        assert SAYS[kind] in reason, (SEED, number, kind, reason)
        assert [seen(tenants.at(name)) for name in tenants.names] == before, (SEED, number, kind, reason)
        refused[f"{kind}, {'many' if many else 'one'}"] += 1
    print(f"{sum(refused.values())} plans refused: {dict(sorted(refused.items()))}")
    assert sum(refused.values()) == DRAWS
