"""A promotion record says what was applied for a revision. Without a complete record the revision does not run."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.fanout.job import FanoutJob
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.promotion import UNREADABLE, UNSEALED, VARIABLE, Lower, Proof, reason_of
from pulumi_alembic.scripts.revision import Revision
from pulumi_alembic.scripts.trust import digest

ONE, TWO = "20250101_001", "20250101_002"


@pytest.fixture
def scripts(tmp_path: Path) -> list[Revision]:
    for id, down in ((ONE, None), (TWO, ONE)):
        (tmp_path / "versions").mkdir(exist_ok=True)
        (tmp_path / "versions" / f"{id}_x.py").write_text(
            f'"""x"""\n\nrevision = "{id}"\ndown_revision = {down!r}\n\n\ndef upgrade():\n    pass\n\n\n'
            "def downgrade():\n    pass\n"
        )
    return list(History.load(tmp_path).revisions.values())


def lower(scripts: list[Revision], **changes: Any) -> Lower:
    back = {each.id: digest(each.checksum) for each in scripts}
    return Lower.parse("staging", str(Proof.of(15, scripts, back)), **changes)


def test_a_proof_is_read_as_it_was_written(scripts: list[Revision]) -> None:
    proof = Proof.of(15, scripts, {ONE: digest(scripts[0].checksum)})
    assert Proof.parse(str(proof)) == proof and proof.back == {ONE}
    assert Proof.parse(str(Proof(16))) == Proof(16)
    waited = replace(proof, windows={TWO: 90_000})
    assert Proof.parse(str(waited)) == waited
    assert waited.only([TWO]).windows == {TWO: 90_000} and waited.without([TWO]).windows == {}
    assert proof.only([TWO]).digests.keys() == {TWO} and proof.without([TWO]).digests.keys() == {ONE}


def test_a_revision_is_proven_by_the_same_script_and_version(scripts: list[Revision]) -> None:
    for server in (15, 0):
        assert [lower(scripts).lacks(each, server) for each in scripts] == ["", ""]


def test_each_thing_that_a_proof_lacks_is_named(scripts: list[Revision]) -> None:
    one, two = scripts
    edited = digest(two.checksum)
    cases = {
        "the stack staging has not run it": Proof.of(15, [two], {TWO: edited}),
        "the stack staging ran another script of this id": Proof(15, {ONE: edited}, frozenset([ONE])),
        "its downgrade was not rehearsed on the stack staging": Proof.of(15, scripts, {}),
        "the stack staging ran it on PostgreSQL 14, and this is 15": Proof.of(14, [one], {ONE: digest(one.checksum)}),
    }
    for lacks, proof in cases.items():
        assert Lower("staging", proof).lacks(one, 15) == lacks


def test_a_way_back_of_an_earlier_script_is_none(scripts: list[Revision]) -> None:
    proof = Proof.of(15, scripts, {ONE: digest(scripts[1].checksum)})
    assert proof.back == frozenset()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "it has no output `proof`"),
        (UNSEALED, "its output `proof` is not encrypted"),
        (UNREADABLE, "passphrase does not open its output `proof`"),
        ("v1", "not one that an update of it wrote"),
        ("v2 postgresql=15", "not one that an update of it wrote"),
        (f"v1 postgresql=15 {ONE}=short", "not one that an update of it wrote"),
        (f"v1 postgresql=15 {ONE}={'a' * 22}- ", "not one that an update of it wrote"),
    ],
)
def test_what_is_no_proof_proves_nothing_and_says_why(scripts: list[Revision], text: str, problem: str) -> None:
    found = Lower.parse("staging", text)
    assert found.proof is None
    lacks = found.lacks(scripts[0], 15)
    assert lacks.startswith("the stack staging proves nothing: ") and problem in lacks


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (None, None),
        ({"stack": "dev", "proof": None}, "it has no output `proof`"),
        ({"stack": "dev", "proof": {}}, "passphrase does not open its output `proof`"),
        (
            {"stack": "dev", "proof": [5]},
            "one passphrase must open both stacks",
        ),
        (
            {"stack": "dev", "proof": 5.0},
            "one passphrase must open both stacks",
        ),
        ({"stack": "dev", "proof": object()}, None),
    ],
)
def test_a_lower_stack_whose_proof_is_not_known_yet_is_not_asked(properties: object, expected: str | None) -> None:
    found = Lower.of(properties)
    assert (found is None) == (expected is None)
    assert expected is None or (found and expected in found.problem)


def test_a_job_goes_to_each_database_of_many_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "checkout is down")
    lint = Settings({"truncate": "error"}, lower=Lower.of({"stack": "dev", "proof": "v1 postgresql=15"}))
    job = FanoutJob(Job("postgresql://host/none", Path("migrations"), policy=Policy(lock_timeout=0.1)), lint, "admin")
    assert FanoutJob.from_line(job.to_line()) == job and b"\n" not in job.to_line()


def test_a_reason_is_said_in_words() -> None:
    assert reason_of("  checkout is\n down ") == "checkout is down" and reason_of("") == ""
    with pytest.raises(PolicyError, match=f"{VARIABLE} must be a reason in words, which is recorded, not 'yes'"):
        reason_of("yes")
