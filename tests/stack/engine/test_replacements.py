"""An object that an interrupted update left for deletion is deleted once, and before the objects that it needs."""

from __future__ import annotations

import pytest

from pulumi_embedded.testing import Engine

from .fake import FakeProvider
from .program import Entry, Program

pytest_plugins = ["pulumi_embedded.testing"]


@pytest.fixture
def program(engine: Engine, provider: FakeProvider) -> Program:
    """A program in which a replacement of `used`, which is deleted first, replaces `user`. Both exist."""
    engine.program = program = Program()
    program.add(Entry("used", "used", component=False, delete_first=True))
    program.add(Entry("user", "user", component=False, fixed_needs=["used"]))
    engine.up()
    provider.take_calls()
    return program


def done(provider: FakeProvider) -> list[tuple[str, str]]:
    """Return the successful calls, by the object's key."""
    return [(call.method, call.inputs["key"]) for call in provider.take_calls() if not call.failed]


def test_what_is_left_of_an_earlier_replacement_goes_before_what_it_needs(
    engine: Engine, provider: FakeProvider, program: Program
) -> None:
    program.entries["user"].fixed += 1
    provider.fail(delete=["user"])
    engine.up(expect_failure=True)
    assert done(provider) == [("create", "user")]
    provider.fail()
    program.entries["used"].fixed += 1
    engine.up()
    deletes = [("delete", "user"), ("delete", "user"), ("delete", "used")]
    assert done(provider) == [*deletes, ("create", "used"), ("create", "user")]
    assert not engine.preview(refresh=True).has_changes


def test_what_a_failed_replacement_has_deleted_is_not_deleted_again(
    engine: Engine, provider: FakeProvider, program: Program
) -> None:
    program.entries["used"].fixed += 1
    provider.fail(create=["used"])
    engine.up(expect_failure=True)
    assert done(provider) == [("delete", "user"), ("delete", "used")]
    provider.fail()
    engine.up()
    assert done(provider) == [("create", "used"), ("create", "user")]
    assert not engine.preview(refresh=True).has_changes


def test_a_child_that_needs_its_parent_is_replaced_with_it(
    engine: Engine, provider: FakeProvider, program: Program
) -> None:
    program.add(Entry("child", "child", component=False, fixed_needs=["used"], parent="used"))
    engine.up()
    done(provider)
    program.entries["used"].fixed += 1
    engine.up()
    calls = done(provider)
    assert sorted(calls[:2]) == [("delete", "child"), ("delete", "user")] and calls[2] == ("delete", "used")
    assert not engine.preview(refresh=True).has_changes


def test_a_refresh_that_misses_a_parent_takes_none_that_follows_its_child(
    engine: Engine, provider: FakeProvider, program: Program
) -> None:
    """There are two resources of one URN, the replaced one after the child. The written state can be read again."""
    program.entries["used"].delete_first = False
    program.add(Entry("child", "child", component=False, parent="used"))
    engine.up()
    program.entries["used"].fixed += 1
    provider.fail(delete=["used"])
    engine.up(expect_failure=True)
    provider.fail()
    new, old = (each for each in engine.resources if each.name == "used")
    assert old.state.delete
    provider.lose(new.id)
    assert engine.refresh().changes["delete"] == 1
    engine.up()
    assert not engine.preview(refresh=True).has_changes
