"""A preview of either engine is read. Any other document is an error of one line."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.review.plan_review import RESTORES, PlanReview, Rehearsed, RevisionReview, StatementReview
from pulumi_alembic.review.report import Level, PreviewError, judge, read
from pulumi_alembic.review.report.facts import TableFacts, tables
from pulumi_alembic.sql.locks import Effects, Lock
from tests.unit.alembic.report.previews import PREVIEWS, REVIEWS, document, migrations, previewed, resource

RECORDINGS = Path(__file__).parents[3] / "stack/engine/recordings"


def recorded() -> dict[str, dict[str, Any]]:
    """Return the previews with --json among the recordings of the Pulumi CLI, by scenario."""
    scenarios = {file.stem: json.loads(file.read_text())["steps"] for file in sorted(RECORDINGS.glob("*.json"))}
    return {
        name: step["stdout_json"]
        for name, steps in scenarios.items()
        for step in steps
        if "changeSummary" in step.get("stdout_json", ())
    }


RECORDED = recorded()
ONE = PREVIEWS["1-revision"]
STACK = {"op": "create", "urn": "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev"}


def with_plan(plan: Any) -> bytes:
    step = resource("create", "pulumi-python:dynamic/alembic:Migrations", "schema", inputs={"__plan": plan})
    return json.dumps(document(step)).encode()


@pytest.mark.parametrize("name", RECORDED)
def test_what_the_pulumi_cli_printed_is_read(name: str) -> None:
    preview = read(json.dumps(RECORDED[name]).encode())
    summary = RECORDED[name]["changeSummary"]
    counts = {op: number for op, number in summary.items() if op != "same"}
    assert dict(Counter(step.op for step in preview.steps)) == counts
    assert (preview.unchanged, preview.stack, preview.project) == (summary.get("same", 0), "dev", "rec")


def test_there_are_recordings() -> None:
    assert {"create", "destroy", "no-op", "refresh-drift", "replace", "update"} <= set(RECORDED)


@pytest.mark.parametrize("as_text", [False, True])
def test_the_plan_is_an_object_or_its_json(as_text: bool) -> None:
    preview = previewed(migrations(REVIEWS["3-revisions"], as_text=as_text))
    assert [planned.review for planned in preview.plans] == [REVIEWS["3-revisions"]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_powershell_redirected_is_read(encoding: str) -> None:
    assert read(json.dumps(ONE).encode(encoding)).stack == "prod"


def test_a_newer_pulumi_may_say_more() -> None:
    assert read(json.dumps({**ONE, "news": [1]}).encode()) == read(json.dumps(ONE).encode())


def test_the_plan_of_a_resource_that_goes_or_is_only_refreshed_does_not_run() -> None:
    gone = resource("delete", "pulumi-python:dynamic/alembic:Migrations", "old", inputs={"__plan": "rubbish"})
    preview = previewed(gone, migrations(REVIEWS["1-revision"], "refresh"))
    assert (preview.plans, preview.forgotten) == ((), ("old",))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"this is empty"),
        (b" \n", r"this is empty"),
        (b"\x89PNG\r\n\x1a\n\xff", r"this is not text"),
        (b'{"steps": null}', r"steps is null"),
        (b"rubbish", r"this is not JSON, at line 1, column 1"),
        (b"Previewing update (dev):\n", r"as people read it: use `pulumi preview --json`"),
        (b'{"sequence": 0, "preludeEvent": {}}\n{"sequence": 1}\n', r"a stream of events"),
        (b'{"sequence": 0, "timestamp": 1}', r"it has sequence, timestamp, and none of steps"),
        (b"[" * 100_000, r"nested too deeply"),
        (b"[" + b"1" * 5_000 + b"]", r"a number that no preview has"),
        (b"[]", r"not the one object"),
        (b"{}", r"it has nothing, and none of steps"),
        (b'{"version": 3, "deployment": {}}', r"it has deployment, version, and none of steps"),
        (b'{"steps": 1}', r"steps is not a list"),
        (b'{"steps": [1]}', r"steps\[0\] is not an object"),
        (b'{"steps": [{"op": "create"}]}', r"steps\[0\]\.urn is not a text"),
        (b'{"steps": [{"op": "create", "urn": "shop"}]}', r"steps\[0\]\.urn is not a URN: 'shop'"),
        (
            json.dumps({"steps": [{**STACK, "oldState": []}, {**STACK, "oldState": 1}]}).encode(),
            r"steps\[1\]\.oldState",
        ),
        (b'{"steps": [], "diagnostics": [{"severity": "error"}]}', r"diagnostics\[0\]\.message is not a text"),
        (b'{"steps": [], "changeSummary": 3}', r"changeSummary is not an object"),
        (with_plan('{"origin": '), r"'schema' cannot be read: this is cut off"),
        (with_plan(7), r"'schema' cannot be read: plan is not an object"),
        (with_plan({"origin": "a" * 9_000}), r"'schema' cannot be read"),
    ],
)
def test_anything_else_is_said_in_one_line(data: bytes, message: str) -> None:
    with pytest.raises(PreviewError, match=message) as caught:
        read(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("document_", [PREVIEWS["3-revisions"], PREVIEWS["refused"]], ids=["plan", "refused"])
def test_a_preview_that_is_cut_off_anywhere_is_refused(document_: dict[str, Any]) -> None:
    data = json.dumps(document_, indent=1).encode()
    for length in range(1, len(data) - 1, 7):
        with pytest.raises(PreviewError):
            read(data[:length])


@pytest.mark.parametrize(
    ("name", "level", "text"),
    [
        ("0-revisions", Level.OK, "Nothing to change"),
        ("1-revision", Level.OK, "1 revision to run: no objections"),
        ("3-revisions", Level.WARNING, "1 warning, 1 revision of unknown SQL: read on before you merge"),
        ("refused", Level.ERROR, "The preview failed, 1 error: do not merge as it is"),
        (
            "destroyed",
            Level.WARNING,
            "Deletes database shop with all its rows, deletes 2 resources: read on before you merge",
        ),
        ("2-resources", Level.WARNING, "Revisions not known: read on before you merge"),
    ],
)
def test_the_verdict_says_what_matters_most(name: str, level: Level, text: str) -> None:
    verdict = judge(read(json.dumps(PREVIEWS[name]).encode()))
    assert (verdict.level, verdict.text) == (level, text)


@pytest.mark.parametrize(
    ("seen", "level", "text"),
    [
        (Rehearsed(), Level.OK, "1 revision to run: no objections"),
        (Rehearsed(way_back=RESTORES), Level.OK, "1 revision to run: no objections"),
        (
            Rehearsed(way_back="leads elsewhere"),
            Level.WARNING,
            "1 downgrade does not restore the schema: read on before you merge",
        ),
        (
            Rehearsed(fails="column missing"),
            Level.ERROR,
            "1 revision failed in the rehearsal: do not merge as it is",
        ),
    ],
)
def test_what_a_rehearsal_showed_is_part_of_the_verdict(seen: Rehearsed, level: Level, text: str) -> None:
    revision = RevisionReview("a", "", "f", "c", "upgrade", rehearsed=seen)
    verdict = judge(previewed(migrations(PlanReview("base", "a", "upgrade", "h:1/d", True, (revision,)))))
    assert (verdict.level, verdict.text) == (level, text)


def test_a_table_that_the_plan_makes_is_waited_for_by_nobody() -> None:
    locks = (Lock("made", "ACCESS EXCLUSIVE", new=True), Lock("there", "SHARE"))
    statement = StatementReview("…", effects=Effects(locks, rewrites=("made",), scans=("there",)))
    revision = RevisionReview("a", "", "f", "c", "upgrade", "", (statement,))
    preview = previewed(migrations(PlanReview("base", "a", "upgrade", "h:1/d", revisions=(revision,))))
    assert tables(preview) == [TableFacts("there", "SHARE", "a", scanned=True)]


def test_the_strongest_lock_on_a_table_is_told_with_its_revision() -> None:
    def locking(id_: str, mode: str) -> RevisionReview:
        statement = StatementReview("…", effects=Effects((Lock("t", mode),)))
        return RevisionReview(id_, "", "f", "c", "upgrade", "", (statement,))

    revisions = (locking("a", "SHARE"), locking("b", "ACCESS EXCLUSIVE"), locking("c", "ROW EXCLUSIVE"))
    preview = previewed(migrations(PlanReview("base", "c", "upgrade", "h:1/d", revisions=revisions)))
    assert tables(preview) == [TableFacts("t", "ACCESS EXCLUSIVE", "b")]


def test_a_database_that_is_retained_is_not_destroyed() -> None:
    kept = resource("delete", "postgresql:index/database:Database", "db", retainOnDelete=True)
    assert judge(previewed(kept)).counts["destroys"] == 0
