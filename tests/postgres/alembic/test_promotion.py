"""A stack applies the revisions that its upstream stack proves, and says for the others what is missing."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.database.pg_programs import find_client
from pulumi_alembic.errors import LintError
from pulumi_alembic.ledger import records
from pulumi_alembic.review.plan_review import PlanReview
from pulumi_alembic.review.plan_text import summary
from pulumi_alembic.review.report import comment, judge, of_review
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.promotion import UNSEALED, VARIABLE, Proof
from pulumi_alembic.stack.log import Log
from pulumi_alembic.stack.plugin_errors import HalfDone
from taskdb.local import Server
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.stack import PROVIDER, Refused, Stack
from tests.postgres.alembic.test_contracts import applied_earlier, contract

ONE, TWO, THREE = (f"20250101_00{number}" for number in (1, 2, 3))


@pytest.fixture(autouse=True)
def _no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def admin(server: Server) -> str:
    with Database(server, "postgres").connect() as connection:
        if find_client(connection.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


@pytest.fixture
def two(empty_target: Target) -> Target:
    """Write scripts of two revisions, with their downgrades."""
    for id, down in ((ONE, None), (TWO, ONE)):
        table = f"t{id[-1]}"
        empty_target.write(id, down, f"op.execute('CREATE TABLE {table} (a int)')", f"op.execute('DROP TABLE {table}')")
    History.load(empty_target.directory).write_manifest()
    return empty_target


@pytest.fixture
def upper(two: Target, make_target: Callable[[Path], Target]) -> Stack:
    """A downstream stack with an empty database."""
    return Stack(make_target(two.directory).url)


def proof(target: Target, admin: str, revision: str) -> str:
    """Return the promotion record of the upstream stack after an update that rehearsed."""
    lower = Stack(target.url)
    lower.up(target.directory, revision, **{"__applying": True, "__rehearse_with": admin})
    return str(lower.outputs["proof"])


def of(text: str | None) -> dict[str, Any]:
    """Return the property of the downstream stack for this promotion record."""
    return {"__lower": {"stack": "staging", "proof": text}}


def test_an_update_proves_what_it_ran_and_the_way_back_that_it_rehearsed(two: Target, admin: str) -> None:
    stack = Stack(two.url)
    stack.up(two.directory, ONE)
    assert Proof.parse(stack.outputs["proof"]).back == set()
    stack.up(two.directory, TWO, **{"__applying": True, "__rehearse_with": admin})
    found = Proof.parse(stack.outputs["proof"])
    assert (found.digests.keys(), found.back) == ({ONE, TWO}, {TWO})
    assert admin not in json.dumps([stack.inputs, stack.outputs])
    stack.up(two.directory, ONE, **{"__applying": True, "__rehearse_with": admin})
    assert Proof.parse(stack.outputs["proof"]).digests.keys() == {ONE}


def test_a_refresh_proves_what_the_database_is_at(two: Target, admin: str) -> None:
    """This includes a state that an earlier version of the library wrote, and a database that a user moved."""
    stack = Stack(two.url)
    stack.up(two.directory, TWO, **{"__applying": True, "__rehearse_with": admin})
    whole = stack.outputs.pop("proof")
    stack.refresh()
    assert stack.outputs["proof"] == whole
    two.migrate(ONE)
    stack.refresh()
    assert Proof.parse(stack.outputs["proof"]).digests.keys() == {ONE}


def test_what_is_proven_runs_and_is_shown_as_such(two: Target, upper: Stack, admin: str) -> None:
    lower = of(proof(two, admin, TWO))
    planned = upper.preview(two.directory, TWO, **lower)
    assert [each.proven_by for each in PlanReview.from_json(json.loads(planned["__plan"])).revisions] == ["staging"] * 2
    upper.up(two.directory, TWO, **lower)
    assert upper.outputs["revision"] == TWO
    # Records of other revisions are not kept.
    upper.up(two.directory, TWO, **lower)
    assert Proof.parse(upper.inputs["__lower"]["proof"]).digests == {}


@pytest.mark.few("unproven-revision")
@pytest.mark.parametrize(
    ("break_", "lacks"),
    [
        (
            lambda text: str(Proof.parse(text).only([ONE])),
            f"{TWO}_script.py: unproven-revision: the stack staging",
        ),
        (lambda text: str(replace(Proof.parse(text), server=9)), "the stack staging ran it on PostgreSQL 9, and this "),
        (lambda text: text.replace("+", ""), "its downgrade was not rehearsed on the stack staging"),
        (lambda text: None, "the stack staging proves nothing: it has no output `proof`"),
        (lambda text: UNSEALED, "its output `proof` is not encrypted, so no update of it wrote it"),
        (lambda text: "v1 anything", "its output `proof` is not one that an update of it wrote"),
    ],
)
def test_what_is_not_proven_does_not_run(
    two: Target, upper: Stack, admin: str, break_: Callable[[str], str | None], lacks: str
) -> None:
    lower = of(break_(proof(two, admin, TWO)))
    with pytest.raises(LintError) as refused:
        upper.up(two.directory, TWO, **lower)
    assert lacks in str(refused.value) and "Traceback" not in str(refused.value)
    assert f"for this update only: {VARIABLE}='why it cannot wait' pulumi up --stack dev" in str(refused.value)
    with connect(upper.url) as connection:
        assert connection.execute("SELECT to_regclass('app.t1')").fetchone() == (None,)


def test_the_report_says_how_long_the_upstream_stack_waited_with_a_contract(
    empty_target: Target, upper: Stack, admin: str
) -> None:
    empty_target.write(ONE, None, "op.execute('CREATE TABLE t1 (a int)')", "op.execute('DROP TABLE t1')")
    empty_target.write(TWO, ONE, "op.execute('ALTER TABLE t1 ADD b int')", "op.execute('ALTER TABLE t1 DROP b')")
    drop, add = "op.execute('ALTER TABLE t1 DROP a')", "op.execute('ALTER TABLE t1 ADD a int')"
    contract(empty_target, THREE, TWO, drop, add)
    History.load(empty_target.directory).write_manifest()
    stack = Stack(empty_target.url)
    rehearsed = {"__applying": True, "__rehearse_with": admin}
    stack.up(empty_target.directory, THREE, contract="12h", **rehearsed)
    assert Proof.parse(stack.outputs["proof"]).windows == {}
    applied_earlier(empty_target, TWO, 20)
    stack.up(empty_target.directory, THREE, contract="12h", **rehearsed)
    record = stack.outputs["proof"]
    [(id, seconds)] = Proof.parse(record).windows.items()
    assert (id, seconds // 3600) == (THREE, 20)
    # A version that does not know the mark reads it as the digest of one more revision.
    assert re.fullmatch(r"v1 postgresql=\d+( [^\s=]+=[A-Za-z0-9_-]{22}\+?){4}", record)
    stack.outputs.pop("proof")
    stack.refresh()
    assert stack.outputs["proof"] == record

    lower = of(record)
    review = PlanReview.from_json(json.loads(upper.preview(empty_target.directory, THREE, **lower)["__plan"]))
    assert [revision.waited for revision in review.revisions] == ["", "", "20 h"]
    assert any("contract, proven by staging, 20 h after the expand)" in line for line in summary(review))
    preview = of_review(review)
    assert "proven by the stack `staging`, which ran it 20 h after the expand before it" in comment(
        preview, judge(preview)
    )


def test_another_script_of_a_proven_id_does_not_run(two: Target, upper: Stack, admin: str) -> None:
    lower = of(proof(two, admin, TWO))
    two.write(TWO, ONE, "op.execute('CREATE TABLE t2 (b int)')", "op.execute('DROP TABLE t2')")
    History.load(two.directory).write_manifest()
    upper.up(two.directory, ONE, **lower)
    with pytest.raises(LintError, match="the stack staging ran another script of this id"):
        upper.up(two.directory, TWO, **lower)
    assert upper.outputs["revision"] == ONE


def test_going_back_needs_no_proof(two: Target, upper: Stack, admin: str) -> None:
    upper.up(two.directory, TWO, **of(proof(two, admin, TWO)))
    upper.up(two.directory, ONE, **of(None))
    assert upper.outputs["revision"] == ONE


def test_what_cannot_wait_runs_with_its_reason_and_is_told_until_it_is_proven(
    two: Target, upper: Stack, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Log, "warning", lambda self, message: told.append(message))
    first = of(proof(two, admin, ONE))
    monkeypatch.setenv(VARIABLE, "checkout is down, incident 4711")
    upper.up(two.directory, TWO, **first)
    monkeypatch.delenv(VARIABLE)
    with connect(upper.url) as connection:
        found, _ = records.read(connection, None)
    assert [each.result for each in found] == ["applied unproven: checkout is down, incident 4711", "applied"]
    assert found[0].detail and "has not run it" in str(found[0].detail)

    for _ in range(2):
        assert not upper.up(two.directory, TWO, **first)
        told.clear()
        upper.preview(two.directory, TWO, **first)
        assert told == [
            f"{TWO} ran here before the stack staging proved it (checkout is down, incident 4711), and still the stack "
            "staging has not run it: pulumi up --stack staging"
        ]
        upper.refresh()
    told.clear()
    upper.preview(two.directory, TWO, **of(proof(two, admin, TWO)))
    assert told == []


def test_a_reason_ends_with_the_run_that_it_was_for(
    two: Target, upper: Stack, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The revision was downgraded by hand, and runs again on a stack that has no upstream stack any more."""
    monkeypatch.setenv(VARIABLE, "checkout is down, incident 4711")
    upper.up(two.directory, TWO, **of(proof(two, admin, ONE)))
    monkeypatch.delenv(VARIABLE)
    assert upper.inputs["__unproven"] == {TWO: "checkout is down, incident 4711"}
    Target(upper.url, two.directory).migrate(ONE)
    assert upper.up(two.directory, TWO)
    assert "__unproven" not in upper.inputs


def test_a_reason_that_says_nothing_is_refused(
    two: Target, upper: Stack, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "yes")
    with pytest.raises(Refused, match=f"{VARIABLE} must be a reason in words, which is recorded, not 'yes'"):
        upper.up(two.directory, TWO, **of(proof(two, admin, ONE)))


def test_an_update_that_ends_on_the_way_proves_nothing_of_what_it_was_to_run(two: Target, admin: str) -> None:
    two.write(THREE, TWO, "op.execute('CREATE TABLE t1 (a int)')")
    History.load(two.directory).write_manifest()
    stack = Stack(two.url)
    stack.up(two.directory, ONE)
    with pytest.raises(HalfDone):
        stack.up(two.directory, THREE)
    assert stack.outputs["revision"] == TWO
    assert Proof.parse(stack.outputs["proof"]).digests.keys() == {ONE}
    assert PROVIDER.diff("id", stack.outputs, stack.preview(two.directory, TWO)).changes is False
