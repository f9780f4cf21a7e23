"""Modules that stay loaded are hidden from the garbage collector, which otherwise works as before."""

import gc
from collections.abc import Iterator

import pytest

from pulumi_alembic.migrate.loading import for_good

NEW = "a module that nobody has loaded"


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_loaded_is_out_of_the_collectors_sight() -> None:
    with for_good(NEW):
        assert not gc.isenabled()
        loaded = [[]]
    assert gc.get_freeze_count() > 0
    assert not any(each is loaded for each in gc.get_objects())
    assert gc.isenabled()


def test_what_was_garbage_before_is_gone() -> None:
    class Node:
        pass

    one = Node()
    one.itself = one  # type: ignore[attr-defined]
    del one
    with for_good(NEW):
        pass
    gc.unfreeze()
    assert not [each for each in gc.get_objects() if type(each) is Node]


def test_a_second_time_nothing_is_put_away() -> None:
    with for_good("gc"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_collector_that_is_off_stays_off() -> None:
    gc.disable()
    with for_good(NEW):
        pass
    assert not gc.isenabled()


def test_an_import_that_fails_leaves_the_collector_on_and_nothing_put_away() -> None:
    with pytest.raises(ImportError), for_good(NEW):
        raise ImportError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
