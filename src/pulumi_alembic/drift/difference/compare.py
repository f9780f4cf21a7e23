"""What differs between what is expected and what was found, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

from pulumi_alembic.drift.difference.ignored import ignored
from pulumi_alembic.drift.difference.renames import Rename, generated, undo_renames
from pulumi_alembic.drift.difference.snapshot import HEADS, SERVER, Item, Key, Snapshot, grouped

__all__ = ["Change", "Difference", "difference", "parent"]


@dataclass(frozen=True)
class Change:
    """One thing that is not as expected: None where it is not there. `within` is what it came or went with."""

    expected: Item | None
    found: Item | None
    within: Key | None = None

    @property
    def item(self) -> Item:
        """What is expected; where nothing is, what was found."""
        item = self.expected or self.found
        assert item is not None  # noqa: S101 - one of them is there
        return item

    @property
    def key(self) -> Key:
        """What it is known by."""
        return self.item.key


@dataclass(frozen=True)
class Difference:
    """All changes, renames first. `expected` and `found` are what was compared, names as they are expected."""

    renames: tuple[Rename, ...]
    changes: tuple[Change, ...]
    expected: Snapshot
    found: Snapshot

    def __bool__(self) -> bool:
        return bool(self.renames or self.changes)

    @property
    def upgrade(self) -> str:
        """What to know of it where the server has another major version than it had; empty where it has not."""
        was, now = self.expected.server, self.found.server
        if was in ("", now):
            return ""
        return (
            f"PostgreSQL was {was} and is {now}, which may print in other words what is the same. What is right as it "
            "is: pulumi-alembic drift --accept --reason WHY"
        )

    @cached_property
    def parts(self) -> dict[Key | None, list[Change]]:
        """The changes by what they came or went with."""
        return grouped(self.changes, lambda change: change.within)

    @cached_property
    def by_key(self) -> dict[Key, Change]:
        """The changes by what their items are known by."""
        return {change.key: change for change in self.changes}

    @cached_property
    def _members(self) -> dict[Key | None, list[tuple[int, Item]]]:
        return grouped(enumerate(self.expected.items), lambda placed: parent(placed[1]))

    @property
    def whole(self) -> list[Change]:
        """The changes without those that came or went with another one."""
        return self.parts.get(None, [])

    def belonging(self, item: Item) -> list[Item]:
        """The expected items that go with this one, columns aside, in order."""
        placed: list[tuple[int, Item]] = []
        waiting = [item.key]
        while waiting:
            members = self._members.get(waiting.pop(), ())
            placed += members
            waiting += [member.key for _, member in members]
        return [member for _, member in sorted(placed, key=itemgetter(0)) if member.kind != "column"]


def difference(expected: Snapshot, found: Snapshot, ignore: Sequence[str] = ()) -> Difference:
    """What differs, and is not matched by a pattern of `ignore`; a pattern for an object is for all that belongs to it.

    The heads and the version of the server are not compared. Of roles that are not expected only what they may do to
    those that are is told, and of constraints and indexes no other name where the server gave both.
    """
    found = _known_then(expected, _concerning(expected, found))
    renames, found = undo_renames(expected, found, lambda item: ignored(item, parent(item), ignore))
    found = _owned_as_expected(expected, found)
    keys = list(dict.fromkeys([*expected.by_key, *found.by_key]))
    pairs = [(expected.by_key.get(key), found.by_key.get(key)) for key in keys if key[0] not in (HEADS, SERVER)]
    changes = [Change(old, new) for old, new in pairs if old != new]
    changes = _without_generated_names(changes)
    changes = [change for change in changes if not ignored(change.item, parent(change.item), ignore)]
    return Difference(tuple(renames), tuple(_nested(changes)), expected, found)


def parent(item: Item) -> Key | None:
    """The object that the item is a part of, and goes with; None where it is one of its own."""
    facts = item.facts
    if item.kind in ("column", "constraint", "index", "trigger", "rule", "policy"):
        return facts["of"], facts["table"] if "table" in facts else facts["domain"]
    if item.kind in ("owner", "privileges"):
        return ("schema", facts["within"]) if "within" in facts else (facts["kind"], facts["object"])
    if item.kind == "comment":
        return facts["on"], facts["object"]
    if item.kind == "sequence" and "owned by" in facts:
        return "column", facts["owned by"]
    return None


def _concerning(expected: Snapshot, found: Snapshot) -> Snapshot:
    """What was found without what is told of roles that are here only by what they were granted since."""
    roles = {item.name for item in expected.of("role")}
    new = {item.name for item in found.of("role")} - roles

    def concerns(item: Item) -> bool:
        if item.kind == "role":
            return item.name not in new
        if item.kind == "setting":
            return item.facts.get("role") not in new
        if item.kind == "membership":
            return item.facts["role"] in roles or (item.facts["member"] not in new and not _of_maker(item))
        return True

    return Snapshot(tuple(item for item in found.items if concerns(item)))


def _of_maker(item: Item) -> bool:
    """Whether it is what PostgreSQL 16 and newer ones give to who makes a role: to grant it, and nothing more."""
    facts = item.facts
    return "SET" in facts and bool(facts["ADMIN"]) and not facts["INHERIT"] and not facts["SET"]


def _known_then(expected: Snapshot, found: Snapshot) -> Snapshot:
    """What was found without the options of memberships that the server did not have yet: before PostgreSQL 16."""

    def known(item: Item) -> Item:
        old = expected.by_key.get(item.key) if item.kind == "membership" else None
        if old is None or "SET" in old.facts:
            return item
        return Item(item.kind, item.name, {key: value for key, value in item.facts.items() if key in old.facts})

    return Snapshot(tuple(known(item) for item in found.items))


def _owned_as_expected(expected: Snapshot, found: Snapshot) -> Snapshot:
    """What was found with the rights of another owner as those of the expected one, which they are once it has it."""
    owners = {
        (item.facts["kind"], item.facts["object"]): (item.facts["owner"], counterpart.facts["owner"])
        for item in found.of("owner")
        if (counterpart := expected.by_key.get(item.key)) and counterpart != item
    }

    def owned(item: Item) -> Item:
        if item.kind != "privileges" or "column" in item.facts:
            return item
        was, owner = owners.get((item.facts["kind"], item.facts["object"]), ("", ""))
        if item.facts["grantee"] != was:
            return item
        return Item(item.kind, f"{item.name.removesuffix(was)}{owner}", {**item.facts, "grantee": owner})

    return Snapshot(tuple(owned(item) for item in found.items)) if owners else found


def _without_generated_names(changes: Iterable[Change]) -> list[Change]:
    """Without pairs that differ in a name alone, as the server gives them to what has none."""
    changes = list(changes)
    missing = {_nameless(change.expected): change for change in changes if change.expected and not change.found}
    extra = {_nameless(change.found): change for change in changes if change.found and not change.expected}
    same = [key for key in missing.keys() & extra.keys() if key is not None]
    gone = {change.key for key in same for change in (missing[key], extra[key])}
    return [change for change in changes if change.key not in gone]


def _nameless(item: Item | None) -> tuple[str, ...] | None:
    if item is None or not generated(item):
        return None
    bare = {"name": "", "definition": item.facts["definition"].replace(item.facts["name"], "")}
    return item.kind, item.facts["table"], Item(item.kind, "", {**item.facts, **bare}).line


def _nested(changes: Sequence[Change]) -> Iterable[Change]:
    """The changes; what came or went with another one says with which."""
    whole = {change.key: change for change in changes if change.expected is None or change.found is None}

    def above(change: Change) -> Key | None:
        up = parent(change.item)
        return (above(whole[up]) or up) if up in whole else None

    for inner in changes:
        yield Change(inner.expected, inner.found, above(inner) if inner.key in whole else None)
