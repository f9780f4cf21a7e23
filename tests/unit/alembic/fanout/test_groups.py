"""Grouping of many databases: equal plans and equal errors are shown once, with a bounded list of databases."""

from collections.abc import Iterator

import pytest

from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.fanout.plan.databases import Listing
from pulumi_alembic.fanout.plan.groups import Groups, counts_text, failures, kept, revisions
from pulumi_alembic.fanout.survey import survey
from pulumi_alembic.review.gates import _DIGEST
from pulumi_alembic.review.plan_review import PlanReview, RevisionReview

PLANS = {
    "up": {"origin": "002", "text": "002 → 003, 1 upgrade", "pending": True, "applied": ""},
    "base": {"origin": "base", "text": "base → 003, 2 upgrades", "pending": True, "applied": ""},
    "there": {"origin": "003", "text": "at 003: nothing pending", "pending": False, "applied": ""},
}


def groups(*keys: str) -> Groups:
    found = Groups(Listing.of([f"t{number}" for number in range(len(keys))], ""), "003")
    for number, key in enumerate(keys):
        found.add(number, key, PLANS[key])
    for group in found.known.values():
        group.review = PlanReview(
            group.origin, "003", "upgrade", "h:1/t", revisions=(RevisionReview("003", *"mfc", "upgrade"),)
        )
    return found


def test_equal_plans_are_counted_the_most_first() -> None:
    many = ["there", "base", *["up"] * 997, "base"]
    assert groups(*many).plan == "997 databases: 002 → 003; 2: base → 003; 1: already there"
    assert groups("up").plan == "1 database: 002 → 003"
    assert groups("there", "there").plan == "at 003: nothing pending"


def test_each_plan_is_shown_once_with_its_account() -> None:
    shown = groups(*["up"] * 30, "base").summary()
    assert len(shown) == 8
    assert shown[0] == "30 databases (t0, t1, t2 and 27 more): 002 → 003, 1 upgrade"
    assert shown[3] == "  seen in t0" and shown[4] == "1 database (t30): base → 003, 2 upgrades"


def test_the_digest_is_one_of_a_plan_and_of_the_databases_that_have_it() -> None:
    digest = groups("up", "up", "base").digest
    assert _DIGEST.fullmatch(digest)
    assert digest == groups("up", "up", "base").digest
    assert digest != groups("up", "base", "up").digest
    more = groups("up", "up", "base")
    more.listing = Listing.of(["t0", "t1", "other"], "")
    assert digest != more.digest
    assert groups("up", "there").digest != groups("up", "up").digest


def test_a_report_has_each_plan_with_its_databases() -> None:
    found = groups("up", "up", "there", "base").to_json()
    assert [each["databases"] for each in found] == ["2 databases (t0, t1)", "1 database (t3)", "1 database (t2)"]
    reviews = [PlanReview.from_json(each["plan"]) for each in found]
    assert [each.origin for each in reviews] == ["002", "base", "003"] and not reviews[-1].revisions


def test_a_report_has_ten_plans_and_says_how_many_more_there_are() -> None:
    many = groups(*["up"] * 12)
    many.known = {}
    for number in range(12):
        many.add(number, str(number), {**PLANS["up"], "origin": f"{number:03}"})
    found = many.to_json()
    assert len(found) == 11
    assert found[10] == {"databases": "2 databases (t10, t11) with 2 other plans", "plan": None}


def test_another_account_of_one_plan_is_another_digest() -> None:
    before, after = groups("up", "base"), groups("up", "base")
    after.known["base"].review = PlanReview(
        "base", "003", "upgrade", "h:1/t", revisions=(RevisionReview("003", *"mfd", "upgrade"),)
    )
    assert before.digest != after.digest


def test_what_a_state_holds_of_it_is_bounded() -> None:
    counts = {f"2025{number:04}_001": 1 for number in range(1000)}
    assert len(revisions(counts)) == 21 and revisions(counts)["others"] == 980
    assert len(counts_text(counts)) < 600
    failed = kept({f"t{number}": "x" * 10_000 for number in range(1000)})
    assert len(failed) == 11 and len(str(failed)) < 6_000 and failed["…"] == "990 more"
    assert kept({}) == {}


def test_one_revision_of_all_is_that_revision() -> None:
    assert counts_text({"003": 12}) == "003"
    assert counts_text({"002": 1, "003": 12}) == "003 (12), 002 (1)"


def test_what_went_wrong_with_several_in_the_same_way_is_said_once() -> None:
    found = {name: f'database {name} as u: no schema; "{name}" is there' for name in ("a", "b", "c")} | {"d": "x\ny"}
    assert failures(found) == ["3 databases (a, b, c): database … as u: no schema; … is there", "d: x\n  y"]
    assert failures({f"t{n}": f"failed {n}" for n in range(50)})[10:] == ["40 databases more failed, in 40 other ways"]


def test_the_lines_of_an_error_stand_below_its_database() -> None:
    class Failing:
        target, command = "003", "up"

        def run(self, *_: object) -> Iterator[tuple[int, dict[str, str]]]:
            yield 0, {"error": "one:\n  two", "kind": ""}

    with pytest.raises(DatabaseError) as caught:
        survey(Failing(), Listing.of(["a"], ""), 1, known=True)  # type: ignore[arg-type]
    assert str(caught.value).splitlines()[1:3] == ["  a: one:", "      two"]
