"""The programs of the state machine: up to 30 resources and components, which change between operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pulumi

__all__ = ["MOST", "Entry", "Program"]

MOST = 30
TYPE = "fake:index:Thing"


class Thing(pulumi.CustomResource):
    def __init__(self, name: str, properties: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(TYPE, name, properties, opts)


@dataclass
class Entry:
    """One resource of the program. `key` stays when its name changes, and the other resources refer to it by `key`."""

    key: str
    name: str
    component: bool
    aliases: list[str] = field(default_factory=list)
    value: int = 0
    fixed: int = 0
    needs: list[str] = field(default_factory=list)
    fixed_needs: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    parent: str = ""
    protect: bool = False
    retain: bool = False
    delete_first: bool = False
    replace_on_value: bool = False

    def mentions(self) -> set[str]:
        return {*self.needs, *self.fixed_needs, *self.after, self.parent} - {""}


class Program:
    """Entries in an order in which each comes after those that it mentions."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._names = 0

    def __call__(self) -> None:
        """Register the entries. Pulumi runs this."""
        made: dict[str, pulumi.Resource] = {}
        for each in self.entries.values():
            options = pulumi.ResourceOptions(
                parent=made.get(each.parent),
                depends_on=[made[key] for key in each.after],
                aliases=[pulumi.Alias(name=name) for name in each.aliases],
                protect=each.protect,
            )
            if each.component:
                made[each.key] = pulumi.ComponentResource("fake:index:Group", each.name, None, options)
                continue
            options.retain_on_delete = each.retain
            options.delete_before_replace = each.delete_first or None
            options.replace_on_changes = ["value"] if each.replace_on_value else []
            made[each.key] = Thing(each.name, self._properties(each, made), options)

    @staticmethod
    def _properties(entry: Entry, made: dict[str, pulumi.Resource]) -> dict[str, Any]:
        return {
            "key": entry.key,
            "value": entry.value,
            "fixed": entry.fixed,
            "needs": [made[key].id for key in entry.needs],
            "fixed_needs": [made[key].id for key in entry.fixed_needs],
        }

    def things(self) -> list[Entry]:
        return [each for each in self.entries.values() if not each.component]

    def new_name(self) -> str:
        self._names += 1
        return f"n{self._names}"

    def add(self, entry: Entry) -> None:
        self.entries[entry.key] = entry

    def remove(self, key: str) -> None:
        """Remove an entry, and every mention of it."""
        del self.entries[key]
        for each in self.entries.values():
            for keys in (each.needs, each.fixed_needs, each.after):
                keys[:] = [other for other in keys if other != key]
            each.parent = "" if each.parent == key else each.parent
