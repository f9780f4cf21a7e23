"""After every random walk of updates, checkouts, manual commands and lost states, heads, ledger and schema agree.

Each step has the result that the model predicts, or it is refused with its reason and changes nothing. `make test-all`
walks longer.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.scripts.history import History
from pulumi_alembic.stack.plugin_errors import HalfDone
from tests.conftest import ALL
from tests.postgres.alembic.catalog import OBJECTS
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import PROVIDER, Refused, Stack, older

ONE, TWO, LEFT, RIGHT, MERGE, LAST = (f"2025010{number}_00{number}" for number in range(1, 7))

DOWN: dict[str, tuple[str, ...]] = {
    ONE: (),
    TWO: (ONE,),
    LEFT: (TWO,),
    RIGHT: (TWO,),
    MERGE: (LEFT, RIGHT),
    LAST: (MERGE,),
}

SQL = {
    ONE: ("CREATE TABLE one (id int PRIMARY KEY)", "DROP TABLE one"),
    TWO: (
        "ALTER TABLE one ADD COLUMN two text; CREATE TABLE beside ()",
        "DROP TABLE beside; ALTER TABLE one DROP COLUMN two",
    ),
    LEFT: ("CREATE TABLE lefts (id int REFERENCES one)", "DROP TABLE lefts"),
    RIGHT: ("CREATE INDEX rights ON one (two)", "DROP INDEX rights"),
    MERGE: ("ALTER TABLE lefts ADD CHECK (id > 0)", "ALTER TABLE lefts DROP CONSTRAINT lefts_id_check"),
    LAST: ("CREATE TABLE last (); CREATE TABLE behind ()", "DROP TABLE behind; DROP TABLE last"),
}

CHECKOUTS = (
    (ONE,),
    (ONE, TWO),
    (ONE, TWO, LEFT),
    (ONE, TWO, RIGHT),
    (ONE, TWO, LEFT, RIGHT),
    tuple(DOWN)[:5],
    tuple(DOWN),
)

# An update without a baseline can take a temporary obstacle for an expected object.
BESIDE = {"drift_ignore": ["table app.behind", "view app.in_the_way"]}


def closure(*revisions: str) -> frozenset[str]:
    """Return these revisions and all their ancestors."""
    return frozenset(revisions).union(*(closure(*DOWN[id]) for id in revisions))


@pytest.fixture
def site(empty_target: Target) -> tuple[Target, dict[tuple[str, ...], Path], dict[frozenset[str], list[str]]]:
    """Return a database, the checkouts, and the schema for each set of revisions that can be applied."""
    for id, down in DOWN.items():
        upgrade, downgrade = ("; ".join(f"op.execute({one!r})" for one in sql.split("; ")) for sql in SQL[id])
        path = empty_target.write(id, down[0] if down else None, upgrade, downgrade)
        if len(down) > 1:
            path.write_text(path.read_text().replace(f"down_revision = {down[0]!r}", f"down_revision = {down!r}"))
    History.load(empty_target.directory).write_manifest()
    checkouts = {having: older(empty_target, *(id for id in DOWN if id not in having)) for having in CHECKOUTS}
    sets = {frozenset(), *(closure(id) for id in DOWN), closure(LEFT, RIGHT)}
    return empty_target, checkouts, {applied: _schema(empty_target, applied) for applied in sets}


def _schema(target: Target, applied: frozenset[str]) -> list[str]:
    with connect(target.url) as connection:
        for id in DOWN:
            if id in applied:
                connection.execute(SQL[id][0].encode())
        return [line for (line,) in connection.execute(OBJECTS)]


class Walk(RuleBasedStateMachine):
    """The model of a walk.

    `applied` are the revisions in the database. `inputs` and `outputs` are the revisions whose digests the state
    contains.
    """

    def __init__(self, site: tuple[Target, dict[tuple[str, ...], Path], dict[frozenset[str], list[str]]]) -> None:
        super().__init__()
        self.target, self.checkouts, self.schemas = site
        self.stack = Stack(self.target.url)
        self.applied: frozenset[str] = frozenset()
        self.inputs: frozenset[str] = frozenset()
        self.outputs: frozenset[str] = frozenset()
        self.saved: list[Any] = []
        with connect(self.target.url) as connection:
            connection.execute(
                "DROP TABLE IF EXISTS one, beside, lefts, last, behind CASCADE; "
                "DROP TABLE IF EXISTS migrations.alembic_version, migrations.ledger CASCADE"
            )
            connection.commit()

    @rule(having=strategies.sampled_from(CHECKOUTS), pick=strategies.integers(-1, 5))
    def up(self, having: tuple[str, ...], pick: int) -> None:
        """Update from any checkout to any of its revisions: newer, older or pinned."""
        self._up(having, pick)

    @rule(having=strategies.sampled_from(CHECKOUTS), forth=strategies.integers(0, 5), back=strategies.integers(-1, 5))
    def forth_and_back(self, having: tuple[str, ...], forth: int, back: int) -> None:
        """Update from the newest checkout, then from an older one. Otherwise a downgrade would be rare."""
        self._up(CHECKOUTS[-1], forth)
        self._up(having, back)

    def _up(self, having: tuple[str, ...], pick: int) -> None:
        target = having[pick % len(having)] if pick >= 0 else "base"
        wanted = closure(target) if pick >= 0 else frozenset()
        lacking = self.applied - set(having)
        expected = ""
        if lacking - (self.inputs & self._kept()):
            expected = "nothing outside the database confirms|the ledger has no script of it"
        elif wanted - self.applied and self.applied - wanted:
            expected = "is on another branch than"
        changed = self._act(lambda: self.stack.up(self.checkouts[having], target, **BESIDE), expected)
        if not expected:
            assert self.stack.outputs["revision"] == target
            self.inputs = wanted | self.applied
            self.outputs = self.inputs if changed else self.outputs
            self.applied = wanted
            assert "drift" not in (PROVIDER.read("id", self.stack.outputs).outs or {}), "a false alarm"

    @rule(
        having=strategies.sampled_from(CHECKOUTS),
        pick=strategies.integers(0, 5),
        which=strategies.sampled_from([command.upgrade, command.downgrade]),
    )
    def by_hand(self, having: tuple[str, ...], pick: int, which: Callable[..., None]) -> None:
        """Run `alembic upgrade` or `alembic downgrade`, which can leave two heads."""
        self._by_hand(having, which, having[pick % len(having)])

    @rule(up=strategies.booleans())
    def fail_half_way(self, up: bool) -> None:
        """Block a revision's second statement, of the newest revision or of TWO, by an object of another user."""
        made, gone = (
            ("CREATE TABLE behind ()", "DROP TABLE behind")
            if up
            else ("CREATE VIEW in_the_way AS SELECT two FROM one", "DROP VIEW in_the_way")
        )
        if (LAST in self.applied) if up else (TWO not in self.applied):
            return
        self._execute(made)
        with pytest.raises(HalfDone, match=f"{LAST if up else TWO} failed"):
            self.stack.up(self.checkouts[CHECKOUTS[-1]], LAST if up else ONE, **BESIDE)
        self._execute(gone)
        self.inputs = self.outputs = closure(LAST) if up else self.applied
        self.applied = closure(LAST) - {LAST} if up else closure(TWO)
        assert self.stack.outputs["revision"] == (MERGE if up else TWO)

    @rule(pick=strategies.integers(0, 5))
    def stamp_by_hand(self, pick: int) -> None:
        """Run a revision's statements by hand, and then `alembic stamp`. Its script is in no ledger."""
        possible = [id for id in DOWN if id not in self.applied and self.applied.issuperset(DOWN[id])]
        if not possible:
            return
        id = possible[pick % len(possible)]
        self._execute(SQL[id][0])
        self._by_hand(CHECKOUTS[-1], command.stamp, id)
        assert id in self.applied

    def _execute(self, sql: str) -> None:
        with connect(self.target.url) as connection:
            connection.execute(sql.encode())
            connection.commit()

    def _kept(self) -> set[str]:
        """Return the revisions whose scripts the ledger keeps: those that were applied, and not only stamped."""
        return {str(id) for (id,) in self._rows("SELECT revision FROM migrations.ledger WHERE event = 'applied'")}

    @rule(having=strategies.sampled_from(CHECKOUTS))
    def all_by_hand(self, having: tuple[str, ...]) -> None:
        self._by_hand(having, command.upgrade, "heads")

    def _by_hand(self, having: tuple[str, ...], which: Callable[..., None], target: str) -> None:
        config = Config(cmd_opts=argparse.Namespace(cmd=(which, [], []), x=None))
        config.set_main_option("script_location", str(self.checkouts[having]))
        before = self._everything()
        try:
            which(config, target)
        except CommandError:
            assert self._everything() == before
        finally:
            # Each run of the command adds a handler, and a process normally runs one command.
            for name in ("alembic.runtime.migration", "alembic.autogenerate"):
                logging.getLogger(name).handlers.clear()
        self.applied = closure(*self._heads())

    @precondition(lambda self: self.stack.outputs)
    @rule()
    def refresh(self) -> None:
        self._act(self.stack.refresh, "")
        assert self.stack.outputs["revision"] == ("+".join(self._heads()) or "base")
        self.inputs = self.outputs

    @rule(really=strategies.sampled_from([False, False, True]))
    def lose_the_state(self, really: bool) -> None:
        if really:
            self.stack.lose()
            self.inputs = self.outputs = frozenset()

    @rule()
    def save_the_state(self) -> None:
        self.saved.append(deepcopy((self.stack.inputs, self.stack.outputs, self.inputs, self.outputs)))

    @precondition(lambda self: self.saved)
    @rule(pick=strategies.integers(0, 9))
    def restore_a_state(self, pick: int) -> None:
        saved = deepcopy(self.saved[pick % len(self.saved)])
        self.stack.inputs, self.stack.outputs, self.inputs, self.outputs = saved

    def _act(self, act: Callable[[], Any], expected: str) -> Any:
        """Return the act's result. If a refusal is expected, assert its reason, and that nothing changed."""
        before = self._everything()
        if not expected:
            return act()
        with pytest.raises((Refused, MigrationError), match=expected):
            act()
        assert self._everything() == before
        return None

    def _everything(self) -> list[Any]:
        found = [self.target.query(OBJECTS), self._heads(), self._rows("SELECT * FROM migrations.ledger ORDER BY id")]
        return [*found, deepcopy(self.stack.inputs), deepcopy(self.stack.outputs)]

    def _heads(self) -> list[str]:
        return [str(head) for (head,) in self._rows("SELECT version_num FROM migrations.alembic_version ORDER BY 1")]

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        """Return the rows of a query, or none if the table does not exist yet."""
        with suppress(DatabaseError):
            return self.target.query(query)
        return []

    @invariant()
    def the_database_is_what_the_model_says(self) -> None:
        recorded: set[str] = set()
        runs = self._rows(
            "SELECT revision, direction, event, heads_after FROM migrations.ledger "
            "WHERE event IN ('applied', 'stamped') ORDER BY id"
        )
        for id, direction, event, heads in runs:
            if event == "stamped":
                recorded = set(closure(*heads))  # type: ignore[misc]
                continue
            assert (id in recorded) is (direction == "downgrade"), f"{direction} {id}: it was so before"
            recorded ^= {str(id)}
        assert self._heads() == sorted(id for id in self.applied if not any(id in DOWN[each] for each in self.applied))
        assert recorded == self.applied
        assert [line for (line,) in self.target.query(OBJECTS)] == self.schemas[self.applied]


@pytest.mark.full
def test_wherever_a_walk_leads_heads_are_ledger_are_schema(
    site: tuple[Target, dict[tuple[str, ...], Path], dict[frozenset[str], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", site[0].url)
    run_state_machine_as_test(
        lambda: Walk(site),
        settings=settings(
            max_examples=100 if ALL else 2,
            stateful_step_count=40 if ALL else 10,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        ),
    )
