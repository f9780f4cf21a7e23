"""A downgrade with stored scripts passes an update's gates too: approval, lint, backup, rehearsal, data loss."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pulumi_alembic.backups import folder as backups
from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import DataLoss, NotApproved
from pulumi_alembic.migrate.data_loss.settings import ALLOW_DATA_LOSS
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.scripts.history import History
from pulumi_alembic.stack.plugin_errors import HalfDone
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic.backing_up import require_clients
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.stack import Stack, older
from tests.postgres.alembic.test_stored_scripts import (
    FOUR,
    THREE,
    TWO,
    checkout,
    everything,
    execute,
    newer,
    stack,
    tables,
    tamper_with,
)

__all__ = ["checkout", "newer", "stack"]


@contextmanager
def refused(target: Target, error: type[Exception], *parts: str) -> Iterator[None]:
    """Assert that the block raises the error, that its text has the parts, and that nothing changed."""
    before = everything(target)
    with pytest.raises(error) as caught:
        yield
    for part in parts:
        assert part in str(caught.value)
    assert everything(target) == before


def test_an_approval_holds_for_what_the_ledger_keeps(newer: Target, stack: Stack, checkout: Path) -> None:
    digest = stack.preview(checkout, TWO, require_approval=True)["digest"]
    with refused(newer, NotApproved, "are not approved"):
        stack.up(checkout, TWO, require_approval=True)
    assert stack.up(checkout, TWO, require_approval=True, __approved=digest)
    assert tables(newer) == ["one", "two"]


def test_an_updates_own_check_which_only_plans_goes_by_the_ledger(newer: Target, stack: Stack, checkout: Path) -> None:
    planned = stack.preview(checkout, TWO, **{"__applying": True})
    assert planned["plan"] == f"{FOUR} → {TWO}, 2 downgrades"
    assert "__plan" not in planned
    assert stack.up(checkout, TWO, **{"__applying": True})
    assert tables(newer) == ["one", "two"]


def test_rows_are_counted_and_stay_until_their_revision_may_take_them_away(
    newer: Target, stack: Stack, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(newer, "ALTER TABLE four ADD x int")
    execute(newer, "INSERT INTO four VALUES (1), (2)")
    review = PlanReview.from_json(json.loads(stack.preview(checkout, TWO)["__plan"]))
    assert review.revisions[0].losses == ("2 rows of app.four",)
    with refused(
        newer,
        DataLoss,
        f"  downgrade {FOUR}: 2 rows of app.four",
        f"then delete the rest:\n  {ALLOW_DATA_LOSS}={FOUR} pulumi up --stack dev",
    ):
        stack.up(checkout, TWO)
    monkeypatch.setenv(ALLOW_DATA_LOSS, FOUR)
    assert stack.up(checkout, TWO)
    assert tables(newer) == ["one", "two"]


def test_what_only_the_run_shows_is_refused_with_the_ledgers_scripts_too(newer: Target) -> None:
    drop = "DO $$ BEGIN EXECUTE 'DROP TABLE ' || 'four'; END $$"
    newer.write(FOUR, THREE, "op.execute('CREATE TABLE four (x int)')", f'op.execute("{drop}")')
    History.load(newer.directory).write_manifest()
    stack = Stack(newer.url)
    stack.up(newer.directory, FOUR)
    execute(newer, "INSERT INTO four VALUES (1), (2), (3)")
    before = tables(newer)
    with pytest.raises(HalfDone, match=r"3 rows of app\.four"):
        stack.up(older(newer, FOUR), THREE)
    assert tables(newer) == before


def test_lint_does_not_stop_it(newer: Target, stack: Stack, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored script is not on disk, so it cannot be fixed, and no exception can be added."""
    execute(newer, "ALTER TABLE four ADD x int")
    execute(newer, "INSERT INTO four VALUES (1)")
    monkeypatch.setenv(ALLOW_DATA_LOSS, FOUR)
    assert stack.up(checkout, TWO, lint={"destroys-data": "error"})
    assert tables(newer) == ["one", "two"]


def test_an_excuse_in_a_script_holds_where_only_the_ledger_has_it(newer: Target) -> None:
    [path] = newer.directory.glob(f"versions/{FOUR}_*.py")
    drop = "    op.execute('DROP TABLE four')"
    path.write_text(path.read_text().replace(drop, f"    # lint: allow destroys-data: it is a cache\n{drop}"))
    History.load(newer.directory).write_manifest()
    stack = Stack(newer.url)
    stack.up(newer.directory, FOUR)
    review = PlanReview.from_json(json.loads(stack.preview(older(newer, FOUR), THREE)["__plan"]))
    assert [each.excused for one in review.revisions[0].statements for each in one.findings] == ["it is a cache"]


def test_a_backup_comes_before_it(newer: Target, stack: Stack, checkout: Path, tmp_path: Path) -> None:
    require_clients(newer)
    folder = tmp_path / "backups"
    assert stack.up(checkout, TWO, backup="destructive", backup_folder=str(folder))
    [(id,)] = newer.query("SELECT backup FROM migrations.ledger WHERE event = 'backup'")
    assert backups.load(folder, str(id)).heads == [FOUR]
    assert tables(newer) == ["one", "two"]


def test_it_is_rehearsed(newer: Target, stack: Stack, checkout: Path, server: Server) -> None:
    with Database(server, "postgres").connect() as admin:
        if find_client(admin.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
    url = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"
    before = everything(newer)
    review = PlanReview.from_json(json.loads(stack.preview(checkout, TWO, **{"__rehearse_with": url})["__plan"]))
    assert review.not_rehearsed == ""
    dropped = [each.rehearsed.dropped for each in review.revisions if each.rehearsed and each.from_ledger]
    assert dropped == [("table app.four",), ("table app.three",)]
    assert everything(newer) == before


def test_rows_that_a_restore_took_back_are_passed_over(newer: Target, stack: Stack, checkout: Path) -> None:
    """Rows between the last one in the backup and the restore belong to undone changes."""
    [(last,)] = newer.query("SELECT max(id) FROM migrations.ledger")
    tamper_with(
        newer,
        "INSERT INTO migrations.ledger (revision, direction, down_revisions, checksum, source, tools, event) "
        "SELECT revision, direction, down_revisions, checksum, 'x', tools, event FROM migrations.ledger "
        "WHERE revision = %s",
        FOUR,
    )
    tamper_with(
        newer,
        "INSERT INTO migrations.ledger (revision, down_revisions, tools, event, detail) "
        "VALUES (%s, '{}', '{}', 'restored', jsonb_build_object('ledger', %s::bigint))",
        FOUR,
        last,
    )
    assert stack.up(checkout, TWO)
    assert tables(newer) == ["one", "two"]


def test_the_last_row_in_a_restored_backup_stands(newer: Target, stack: Stack, checkout: Path) -> None:
    """A backup has the number of the ledger's last row, which is the row of a revision if no snapshot follows it."""
    [(last,)] = newer.query(f"SELECT max(id) FROM migrations.ledger WHERE revision = '{FOUR}' AND event = 'applied'")
    tamper_with(
        newer,
        "INSERT INTO migrations.ledger (revision, down_revisions, tools, event, detail) "
        "VALUES (%s, '{}', '{}', 'restored', jsonb_build_object('ledger', %s::bigint))",
        FOUR,
        last,
    )
    assert stack.up(checkout, TWO)
    assert tables(newer) == ["one", "two"]
