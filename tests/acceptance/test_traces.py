"""One trace of a real update, read from a collector: its tree and its times, without secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.project import Project
from tests.collector import Collected, Recorded, collector

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OPERATION = ["pulumi-embedded update", "update", "register pulumi-python:dynamic/alembic:Migrations"]
CALL = ["create pulumi-python:dynamic/alembic:Migrations", "pulumirpc.ResourceProvider/Create"]
STEPS = ["migration lock", "plan", "review", "backup", "attempt", "read the revision"]
REVISIONS = [f"upgrade 20250126_00{number}" for number in (1, 2, 3)]
TOLERANCE = 1_000_000  # nanoseconds: the two processes have the same clock, but the times of a span are rounded


@pytest.fixture
def updated(project: Project) -> Iterator[tuple[Project, Collected]]:
    """A stack that was created with tracing, below a parent, and the collected trace."""
    with collector() as collected:
        project.succeed(
            *("up", "--yes", "--skip-preview"), **collected.environment, TRACEPARENT=f"00-{TRACE}-{PARENT}-01"
        )
        yield project, collected


def test_an_update_is_one_trace(updated: tuple[Project, Collected]) -> None:
    project, collected = updated
    assert {each.trace for each in collected.spans} == {TRACE}
    known = {each.id for each in collected.spans}
    roots = [each for each in collected.spans if each.parent not in known]
    assert {each.parent for each in roots} == {PARENT}
    # The CLI has no spans in this trace, so each call of the provider is directly below the parent.
    above = [*OPERATION, *CALL] if project.engine == "embedded" else []
    assert len(roots) == 1 or not above

    [migration] = collected.named("Migrations.create")
    assert collected.path(migration) == [*above, "Migrations.create"]
    assert [each.name for each in collected.children(migration)] == STEPS
    [attempt] = collected.named("attempt")
    revisions = [each for each in collected.children(attempt) if each.name.startswith("upgrade")]
    assert [each.name for each in revisions] == REVISIONS
    statements = [each.name for each in collected.children(revisions[2])]
    assert statements == ["CREATE TABLE", "CREATE TABLE", "CREATE INDEX", "CREATE INDEX"]

    for span in collected.spans:
        below = collected.children(span)
        assert all(_within(each, span) for each in below), span
        if span.service == "pulumi-alembic":
            # The children run one after the other.
            assert sum(each.ended - each.begun for each in below) <= span.ended - span.begun + TOLERANCE

    texts = [text for each in collected.spans if (text := each.attributes.get("db.query.text"))]
    assert len(texts) >= 17
    assert not [text for text in texts if "'" in text]
    outputs = project.outputs()
    secret = [outputs[name].split(":")[2].split("@")[0] for name in ("migrator_url", "app_url", "reader_url")]
    secret += [project.environment[name] for name in ("PGPASSWORD", "PULUMI_CONFIG_PASSPHRASE")]
    assert not [text for text in collected.raw for each in secret if each in text]


def _within(child: Recorded, parent: Recorded) -> bool:
    return parent.begun - TOLERANCE <= child.begun and child.ended <= parent.ended + TOLERANCE
