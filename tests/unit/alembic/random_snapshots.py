"""Random snapshots of small schemas, and random changes of them, for property tests of functions that compare two."""

from __future__ import annotations

from random import Random

from pulumi_alembic.drift.difference.names import split
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot

__all__ = ["changed", "snapshot"]

_NAMES = ("a", "b", "a_b", '"A b"', "task", "task_id", '"x.y"', "name")
_TYPES = ("text", "bigint", "app.mood")


def snapshot(random: Random) -> Snapshot:
    """Draw a few schemas with tables, their parts, sequences, a view, a function, and the owners of all these."""
    items = [Item("server", "15"), Item("heads", "20250101_001")]
    items += [Item("role", name, {"name": name}) for name in ("own", "app")]
    for schema in random.sample(("app", "other", '"The App"'), random.randint(1, 2)):
        items += [Item("schema", schema), *_owned("schema", schema, random)]
        tables = [f"{schema}.{name}" for name in random.sample(_NAMES, random.randint(1, 5))]
        for table in tables:
            items += [Item("table", table, {"options": []} if random.random() < 0.2 else {})]
            items += [*_parts(table, tables, random), *_owned("table", table, random)]
        items += [
            Item("view", f"{schema}.seen", {"query": f" SELECT id FROM {random.choice(tables)};", "columns": ["id"]}),
            Item(
                "function",
                f"{schema}.f(integer)",
                {"definition": f"CREATE FUNCTION {schema}.f(integer)\nAS $$ app.a $$"},
            ),
        ]
    return Snapshot(tuple(items))


def changed(old: Snapshot, random: Random) -> Snapshot:
    """Return the snapshot after some renames, drops, additions and changes. A server need not be able to have it."""
    items = list(old.items)
    for number in range(random.randint(1, 6)):
        item = random.choice(items)
        match random.randint(0, 4):
            case 0 | 1:
                items = _renamed(items, item, f"new_{number}" if random.random() < 0.8 else random.choice(_NAMES))
            case 2:
                items = [each for each in items if each != item and each.facts.get("table") != item.name]
            case 3 if item.kind == "column":
                items[items.index(item)] = Item(item.kind, item.name, {**item.facts, "type": random.choice(_TYPES)})
            case _:
                items.append(Item("table", f"app.more_{number}"))
                items += _parts(f"app.more_{number}", [str(item.facts.get("table", "app.a"))], random)
    return Snapshot(tuple({item.key: item for item in items}.values()))


def _parts(table: str, tables: list[str], random: Random) -> list[Item]:
    about = {"table": table, "of": "table"}
    schema, bare, _ = split(table)
    columns = random.sample(_NAMES, random.randint(1, 4))
    parts = [
        Item("column", f"{table}.{name}", {**about, "name": name, "type": random.choice(_TYPES)}) for name in columns
    ]
    for name in columns[:2]:
        sequence = f"{schema}.{bare}_{name}_seq".replace('"', "")
        owned = {"owned by": f"{table}.{name}", "identity": random.random() < 0.5 or None}
        numbers = dict.fromkeys(("type", "increment", "min", "max", "start", "cache", "cycle"), 1)
        parts.append(Item("sequence", sequence, {**owned, "sequence": numbers}))
    for name in random.sample(("is_short", f"{bare}_check", f"{bare}_fkey"), 2):
        other = random.choice(tables)
        definition = (
            f"FOREIGN KEY ({columns[0]}) REFERENCES {other}({columns[0]})"
            if "fkey" in name
            else (f"CHECK ({columns[-1]} > 0)")
        )
        parts.append(Item("constraint", f"{table}.{name}", {**about, "name": name, "definition": definition}))
    index = f"{bare}_idx".replace('"', "") if random.random() < 0.5 else f"quick_{bare}".replace('"', "")
    definition = f"CREATE INDEX {index} ON {table} USING btree ({columns[0]})"
    parts.append(Item("index", f"{schema}.{index}", {**about, "name": index, "definition": definition}))
    text = {"on": "column", "object": f"{table}.{columns[0]}", "text": f"of {table}"}
    comment = Item("comment", f"column {table}.{columns[0]}", {**text, "column": columns[0], "table": table})
    rights = {"kind": "table", "object": table, "noun": "TABLE", "rights": {"SELECT": False}, "grantee": "app"}
    return [*parts, comment, Item("privileges", f"table {table} to app", rights)]


def _owned(kind: str, name: str, random: Random) -> list[Item]:
    return [Item("owner", f"{kind} {name}", {"kind": kind, "object": name, "owner": random.choice(("own", "app"))})]


def _renamed(items: list[Item], item: Item, name: str) -> list[Item]:
    """Rename an item roughly as a server prints a rename: each text that contains the old name has the new one."""
    if item.kind == "function" or item.kind not in (
        "table",
        "view",
        "sequence",
        "column",
        "constraint",
        "index",
        "schema",
    ):
        return items
    old = str(item.facts.get("name") or split(item.name).bare)
    new_name = name if item.kind == "schema" else f"{item.name.removesuffix(old)}{name}"

    def said(value: object) -> object:
        if isinstance(value, dict):
            return {key: said(each) for key, each in value.items()}
        return value.replace(item.name, new_name) if isinstance(value, str) else value

    def renamed(each: Item) -> Item:
        facts = {key: said(value) for key, value in each.facts.items()}
        if each is item and "name" in facts:
            facts["name"] = name
        return Item(each.kind, str(said(each.name)), facts)

    return [renamed(each) for each in items]
