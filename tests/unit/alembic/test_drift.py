"""What differs between two snapshots, without a server."""

from __future__ import annotations

from pulumi_alembic.drift.difference.compare import difference
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot


def membership(**options: bool) -> Item:
    return Item("membership", "app in rw", {"member": "app", "role": "rw", **options})


ROLES = (Item("role", "app", {"name": "app"}), Item("role", "rw", {"name": "rw"}))


def test_options_of_memberships_that_came_with_postgresql_16_are_no_drift_after_the_upgrade() -> None:
    old = Snapshot((Item("server", "15"), *ROLES, membership(ADMIN=False)))
    assert not difference(
        old, Snapshot((Item("server", "16"), *ROLES, membership(ADMIN=False, INHERIT=True, SET=True)))
    )
    found = difference(old, Snapshot((Item("server", "16"), *ROLES, membership(ADMIN=True, INHERIT=True, SET=True))))
    assert [str(each.item) for each in found.changes] == ["membership app in rw"]
    assert "PostgreSQL was 15 and is 16" in found.upgrade


def test_who_made_a_role_that_was_granted_something_is_no_drift() -> None:
    """From PostgreSQL 16 on the server makes the maker a member, which no statement of the maker's takes back."""
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
