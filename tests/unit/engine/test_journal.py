"""A step begins only after it is in the state. One write serves all steps that waited for the write before."""

from __future__ import annotations

import threading
import time

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op, Step
from pulumi_embedded.storage.checkpoint import Snapshot
from pulumi_embedded.storage.journal import Journal


def create(name: str) -> Step:
    return Step(Op.CREATE, None, ResourceState(name, "a:b:C", True))


def pending(snapshot: Snapshot) -> set[str]:
    return {operation.resource.urn for operation in snapshot.pending_operations}


def test_one_write_does_for_all_that_wait_for_it() -> None:
    written: list[set[str]] = []
    begun: dict[str, set[str]] = {}
    writing, release = threading.Event(), threading.Event()

    def write(snapshot: Snapshot) -> None:
        writing.set()
        assert release.wait(30)
        written.append(pending(snapshot))

    journal = Journal(Snapshot(), write)

    def begin(name: str) -> None:
        journal.begin(create(name))
        begun[name] = written[-1]

    names = [str(number) for number in range(20)]
    threads = [threading.Thread(target=begin, args=[name]) for name in names]
    threads[0].start()
    assert writing.wait(30)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 30
    while pending(journal.snapshot()) != {*names}:
        assert time.monotonic() < deadline
    release.set()
    for thread in threads:
        thread.join()

    assert written[0] == {names[0]} and written[-1] == {*names}
    # A thread can be late for the second write.
    assert len(written) < 10
    assert all(name in begun[name] for name in names)


def test_a_step_that_cannot_be_written_is_not_begun() -> None:
    written: list[set[str]] = []

    def write(snapshot: Snapshot) -> None:
        written.append(pending(snapshot))
        if len(written) == 2:
            raise EngineError("the disk is full")

    journal = Journal(Snapshot(), write)
    journal.begin(create("a"))
    with pytest.raises(EngineError):
        journal.begin(create("b"))
    assert written == [{"a"}, {"a", "b"}, {"a"}]


def test_steps_one_after_the_other_are_written_each() -> None:
    written: list[tuple[set[str], list[str]]] = []
    journal = Journal(
        Snapshot(), lambda known: written.append((pending(known), [each.urn for each in known.resources]))
    )
    step = create("a")
    journal.begin(step)
    journal.end(step, done=True)
    journal.close()
    assert written == [({"a"}, []), (set(), ["a"])]


def test_resources_that_stay_the_same_are_written_at_the_end() -> None:
    """A new order of resources is the only change of a run whose steps are all `same`."""
    written: list[list[str]] = []
    base = [ResourceState(name, "a:b:C", True) for name in ("a", "b")]
    journal = Journal(Snapshot(resources=base), lambda known: written.append([each.urn for each in known.resources]))
    for old in reversed(base):
        journal.end(Step(Op.SAME, old, ResourceState(old.urn, old.type, True)), done=True)
    assert written == []
    journal.close()
    assert written == [["b", "a"]]
