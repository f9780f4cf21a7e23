"""The difference between two snapshots, without a server."""

from __future__ import annotations

import re
from random import Random

import pytest

from pulumi_alembic.drift.difference import renames
from pulumi_alembic.drift.difference.compare import Difference, difference, parent
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.repair.script import repair
from tests.unit.alembic.random_snapshots import changed, snapshot


def membership(**options: bool) -> Item:
    return Item("membership", "app in rw", {"member": "app", "role": "rw", **options})


ROLES = (Item("role", "app", {"name": "app"}), Item("role", "rw", {"name": "rw"}))


def test_new_membership_options_of_postgresql_16_are_no_drift() -> None:
    old = Snapshot((Item("server", "15"), *ROLES, membership(ADMIN=False)))
    assert not difference(
        old, Snapshot((Item("server", "16"), *ROLES, membership(ADMIN=False, INHERIT=True, SET=True)))
    )
    found = difference(old, Snapshot((Item("server", "16"), *ROLES, membership(ADMIN=True, INHERIT=True, SET=True))))
    assert [str(each.item) for each in found.changes] == ["membership app in rw"]
    assert "PostgreSQL was 15 and is 16" in found.upgrade


def test_who_made_a_role_that_was_granted_something_is_no_drift() -> None:
    """From PostgreSQL 16 on, the server makes the creator of a role its member. The creator cannot revoke that."""
    old = Snapshot((*ROLES,))
    new = Item("role", "late", {"name": "late"})
    made = Item(
        "membership", "app in late", {"member": "app", "role": "late", "ADMIN": True, "INHERIT": False, "SET": False}
    )
    assert not difference(old, Snapshot((*ROLES, new, made)))
    used = Item("membership", "app in late", {**made.facts, "SET": True})
    assert difference(old, Snapshot((*ROLES, new, used)))


def test_they_are_compared_from_then_on() -> None:
    new = Snapshot((*ROLES, membership(ADMIN=False, INHERIT=True, SET=True)))
    assert difference(new, Snapshot((*ROLES, membership(ADMIN=False, INHERIT=True, SET=False))))


def replaced(text: str, name: str, new: str) -> str:
    """Return the text with `new` in place of `name`, if the name stands alone."""
    return re.sub(rf'(?<![\w".]){re.escape(name)}(?![\w"])', lambda _: new, text)


@pytest.mark.parametrize("text", ["a", "a.b", "x.a", "aa a", '"a" a"a a"', "(a)", "a_b a", "äa a", "a b a.a"])
@pytest.mark.parametrize("name", ["a", '"a"', "a.a", "a b", "b"])
def test_a_name_is_replaced_where_it_stands_alone(text: str, name: str) -> None:
    assert renames._Name(name).replace(text, "new") == replaced(text, name, "new")


def belonging(whole: Difference, item: Item) -> list[Item]:
    """Find the items that belong to `item` by the chain of parents of each expected item."""

    def is_on(each: Item) -> bool:
        up = parent(each) if each.kind != "column" else None
        while up is not None and up != item.key:
            above = whole.expected.by_key.get(up)
            up = parent(above) if above else None
        return up is not None

    return [each for each in whole.expected.items if is_on(each)]


def binds(item: Item, whole: Difference) -> bool:
    """Find out whether a foreign key binds the item, by looking at each dropped table."""
    going = [each.item for each in whole.changes if each.expected is None and each.item.kind == "table"]
    definition = str(item.facts.get("definition", ""))
    return definition.startswith("FOREIGN KEY") and any(
        f" REFERENCES {table.name}(" in definition for table in going if table.name != item.facts["table"]
    )


@pytest.mark.parametrize("seed", range(40))
def test_what_is_found_by_an_index_is_what_a_look_at_everything_finds(seed: int) -> None:
    random = Random(seed)
    old = snapshot(random)
    new = changed(old, random)
    for whole in (difference(old, new), difference(new, old)):
        for change in whole.changes:
            assert whole.parts.get(change.key, []) == [each for each in whole.changes if each.within == change.key]
            assert whole.by_key[change.key] is change
            assert whole.belonging(change.item) == belonging(whole, change.item)
            if (
                change.found is not None
                and change.expected is None
                and change.within
                and "inherited" not in change.item.facts
            ):
                assert bool(repair(change, whole)) == binds(change.item, whole)
        for item in whole.expected.items:
            columns = [each for each in whole.expected.of("column") if each.facts["table"] == item.name]
            assert list(whole.expected.columns(item.name)) == columns


@pytest.mark.parametrize("seed", range(40))
def test_renames_change_the_same_as_a_search_of_everything(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = Random(seed)
    old = snapshot(random)
    new = changed(old, random)
    quick = [difference(old, new), difference(new, old)]
    monkeypatch.setattr(renames._Working, "_naming", lambda self, name: set(range(len(self.items))))
    assert quick == [difference(old, new), difference(new, old)]


def test_the_roles_of_a_packed_snapshot_are_those_of_the_snapshot() -> None:
    """They are read alone if the digest does not match."""
    stored = Snapshot((*ROLES, Item("table", "app.one", {"name": "one"}), membership()))
    assert Snapshot.unpack_roles(stored.packed()) == stored.roles == ["app", "rw"]
