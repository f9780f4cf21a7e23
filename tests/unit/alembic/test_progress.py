"""The progress of an update, reported to the engine from time to time."""

from __future__ import annotations

from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest

from pulumi_alembic.scripts.plan import Direction, Plan
from pulumi_alembic.scripts.revision import Revision
from pulumi_alembic.stack import log, update

IDS = [f"20250101_{number:03}" for number in range(1000)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Queue[str]:
    queue: Queue[str] = Queue()
    monkeypatch.setattr(log, "_log", lambda message, urn, **_: queue.put(message))
    return queue


@pytest.fixture
def progress() -> update._Progress:
    steps = tuple(Revision(id, (), (), Path(), f"{id}.py", "", "") for id in IDS)
    gate: Any = SimpleNamespace(begun=Plan((), IDS[-1], Direction.UPGRADE, steps))
    return update._Progress("urn", gate)


def test_the_newest_revision_is_reported_and_few_of_a_thousand(progress: update._Progress, told: Queue[str]) -> None:
    for id in IDS:
        progress.applied(id)
    reports = [told.get(timeout=60)]
    while "1000 of 1000" not in reports[-1]:
        reports.append(told.get(timeout=60))
    assert reports[-1] == f"applied {IDS[-1]}, 1000 of 1000"
    assert len(reports) < 100


def test_the_last_revision_is_reported_at_the_end_and_nothing_after_it(
    progress: update._Progress, told: Queue[str]
) -> None:
    """An update can end before its first interval does. The result of its step begins with this report."""
    progress.applied(IDS[0])
    timer = progress._timer
    progress.close()
    assert told.get_nowait() == f"applied {IDS[0]}, 1 of 1000"
    assert timer is not None
    timer.join()
    assert told.empty()


def test_an_update_without_a_revision_reports_none(progress: update._Progress, told: Queue[str]) -> None:
    progress.close()
    assert told.empty()
