"""Statements that repair parts of tables: columns, constraints, indexes, triggers, rules and policies.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterator

from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.repair.statement import Facts, Made, Repairs

__all__ = ["REPAIRS", "column", "rename", "sequence_clauses"]

_TEXTS = {"text", "character varying", "character"}
_NO_VALUES = "the values are lost"

# Facts that a table stores about one of its indexes.
_MARKS = {"clustered", "replica identity"}


def _make(item: Item, expected: Snapshot) -> Made:
    """Yield the statements that create the item."""
    facts, table = item.facts, item.facts.get("table", "")
    match item.kind:
        case "column" if facts["of"] == "type":
            yield f"ALTER TYPE {table} ADD ATTRIBUTE {column(item, expected)}", ""
        case "column":
            strict = facts.get("not null") and "default" not in facts and "identity" not in facts
            rows = "; if the table has rows, give it a default or fill it before NOT NULL" if strict else ""
            yield f"ALTER TABLE {table} ADD COLUMN {column(item, expected)}", f"{_NO_VALUES}{rows}"
        case "constraint":
            refers = facts["definition"].startswith("FOREIGN KEY")
            note = "it fails if a row refers to nothing" if refers else ""
            yield f"ALTER {_owner(facts)} ADD CONSTRAINT {facts['name']} {facts['definition']}", note
            yield from _marks(facts, {})
        case "index":
            # With ONLY, the index of a partitioned table would be invalid until each partition has one.
            yield facts["definition"].replace(f" ON ONLY {table}", f" ON {table}", 1), ""
            yield from _marks(facts, {})
        case "policy":
            yield _policy(facts), ""
        case _:
            yield str(facts["definition"]).removesuffix(";"), ""
            if facts.get("enabled"):
                yield _enabled(item), ""


def _drop(item: Item) -> Made:
    """Yield the statement that drops the item."""
    facts = item.facts
    match item.kind:
        case "column" if facts["of"] == "type":
            yield f"ALTER TYPE {facts['table']} DROP ATTRIBUTE {facts['name']}", "its values are deleted"
        case "column":
            yield f"ALTER TABLE {facts['table']} DROP COLUMN {facts['name']}", "its values are deleted"
        case "constraint":
            yield f"ALTER {_owner(facts)} DROP CONSTRAINT {facts['name']}", ""
        case "index":
            yield f"DROP INDEX {item.name}", ""
        case _:
            yield f"DROP {item.kind.upper()} {facts['name']} ON {facts['table']}", ""


def _alter(expected: Item, found: Item) -> Made:
    """Yield the statements that change the item to the expected state."""
    facts, old = expected.facts, found.facts
    if expected.kind == "column":
        yield from _alter_column(expected, found)
    elif expected.kind in ("trigger", "rule"):
        yield _enabled(expected), ""
    else:
        if facts["definition"] != old["definition"]:
            yield f"ALTER {_owner(facts)} VALIDATE CONSTRAINT {facts['name']}", ""
        yield from _marks(facts, old)


def _needs_new(expected: Item, found: Item) -> bool:
    """Return whether no ALTER leads to the expected state."""
    facts, old = expected.facts, found.facts
    differing = {key for key in facts.keys() | old.keys() if facts.get(key) != old.get(key)}
    match expected.kind:
        case "column":
            return False
        case "trigger" | "rule":
            return differing != {"enabled"}
        case "constraint" if old["definition"] == f"{facts['definition']} NOT VALID":
            return False
    return bool(differing - _MARKS - {"inherited"})


def rename(expected: Item, found: Item) -> Iterator[str]:
    """Yield the statement that gives the found item its expected name."""
    facts, was, now = expected.facts, found.facts["name"], expected.facts["name"]
    match expected.kind:
        case "column" | "constraint":
            yield f"ALTER {_owner(facts)} RENAME {expected.kind.upper()} {was} TO {now}"
        case "index":
            yield f"ALTER INDEX {found.name} RENAME TO {now}"
        case _:
            yield f"ALTER {expected.kind.upper()} {was} ON {facts['table']} RENAME TO {now}"


def column(item: Item, expected: Snapshot) -> str:
    """Return the column as in CREATE TABLE."""
    facts = item.facts
    words = [facts["name"], facts["type"]]
    if "collation" in facts:
        words.append(f"COLLATE {facts['collation']}")
    if "generated" in facts:
        words.append(f"GENERATED ALWAYS AS ({facts['default']}) {facts['generated']}")
    elif "default" in facts:
        words.append(f"DEFAULT {facts['default']}")
    if facts.get("not null"):
        words.append("NOT NULL")
    if "identity" in facts:
        words.append(f"GENERATED {facts['identity']} AS IDENTITY{_sequence(item, expected)}")
    return " ".join(words)


def sequence_clauses(facts: Facts) -> list[str]:
    """Return the clauses after the name in CREATE SEQUENCE."""
    return [
        f"AS {facts['type']}", f"INCREMENT BY {facts['increment']}", f"MINVALUE {facts['min']}",
        f"MAXVALUE {facts['max']}", f"START WITH {facts['start']}", f"CACHE {facts['cache']}",
        "CYCLE" if facts["cycle"] else "NO CYCLE",
    ]  # fmt: skip


def _sequence(item: Item, expected: Snapshot) -> str:
    for sequence in expected.sequences(item.name):
        if sequence.facts.get("identity"):
            kept = [clause for clause in sequence_clauses(sequence.facts["sequence"]) if not clause.startswith("AS ")]
            return f" (SEQUENCE NAME {sequence.name} {' '.join(kept)})"
    return ""


def _alter_column(expected: Item, found: Item) -> Made:
    facts, old = expected.facts, found.facts
    table, name = facts["table"], facts["name"]
    if facts["of"] == "type":
        collate = f" COLLATE {facts['collation']}" if "collation" in facts else ""
        yield f"ALTER TYPE {table} ALTER ATTRIBUTE {name} TYPE {facts['type']}{collate}", ""
        return
    if facts.get("generated") != old.get("generated") or ("generated" in facts and _default(facts) != _default(old)):
        kept = "" if "generated" in old else "its values are deleted, and "
        yield (
            f"ALTER TABLE {table} DROP COLUMN {name}",
            f"{kept}what depends on it is dropped too: check for drift again afterwards",
        )
        yield f"ALTER TABLE {table} ADD COLUMN {column(expected, Snapshot(()))}", "its place among the columns is new"
        return
    lead = f"ALTER TABLE {table} ALTER COLUMN {name}"
    if facts.get("storage") != old.get("storage"):
        yield f"{lead} SET STORAGE {facts.get('storage') or old['usual storage']}", ""
    if facts.get("compression") != old.get("compression"):
        yield f"{lead} SET COMPRESSION {facts.get('compression', 'DEFAULT')}", ""
    # The type of an inherited column changes with its parent's.
    retyped = not facts.get("inherited") and (
        (facts["type"], facts.get("collation")) != (old["type"], old.get("collation"))
    )
    if "default" in old and (retyped or "default" not in facts):
        yield f"{lead} DROP DEFAULT", ""
    if "identity" in old and "identity" not in facts:
        yield f"{lead} DROP IDENTITY", ""
    if retyped:
        yield _retype(lead, facts, old)
    if facts.get("not null") != old.get("not null"):
        verb, note = ("SET", "it fails if a value is NULL") if facts.get("not null") else ("DROP", "")
        yield f"{lead} {verb} NOT NULL", note
    if "default" in facts and (retyped or _default(facts) != _default(old)):
        yield f"{lead} SET DEFAULT {facts['default']}", ""
    if "identity" in facts and facts["identity"] != old.get("identity"):
        if "identity" in old:
            yield f"{lead} SET GENERATED {facts['identity']}", ""
        else:
            yield f"{lead} ADD GENERATED {facts['identity']} AS IDENTITY", "its sequence starts at 1: use setval"


def _retype(lead: str, facts: Facts, old: Facts) -> tuple[str, str]:
    collate = f" COLLATE {facts['collation']}" if "collation" in facts else ""
    change = f"{lead} TYPE {facts['type']}{collate}"
    if {side["type"].partition("(")[0] for side in (facts, old)} <= _TEXTS:
        # A cast would cut values that are too long.
        return change, "it fails if a value is too long"
    note = "it fails if a value does not fit, and can round values"
    return f"{change} USING {facts['name']}::{facts['type']}", note


def _default(facts: Facts) -> object:
    return facts.get("default")


def _owner(facts: Facts) -> str:
    return f"TABLE {facts['table']}" if "table" in facts else f"DOMAIN {facts['domain']}"


def _enabled(item: Item) -> str:
    verb = item.facts.get("enabled", "ENABLE")
    return f"ALTER TABLE {item.facts['table']} {verb} {item.kind.upper()} {item.facts['name']}"


def _marks(facts: Facts, old: Facts) -> Made:
    lead, name = f"ALTER TABLE {facts.get('table')}", facts["name"]
    if facts.get("clustered") != old.get("clustered"):
        yield (f"{lead} CLUSTER ON {name}" if facts.get("clustered") else f"{lead} SET WITHOUT CLUSTER"), ""
    if facts.get("replica identity") and not old.get("replica identity"):
        yield f"{lead} REPLICA IDENTITY USING INDEX {name}", ""


def _policy(facts: Facts) -> str:
    words = [f"CREATE POLICY {facts['name']} ON {facts['table']}"]
    words.append(f"AS {'PERMISSIVE' if facts['permissive'] else 'RESTRICTIVE'} FOR {facts['command']}")
    words.append(f"TO {', '.join(facts['roles'])}")
    if "using" in facts:
        words.append(f"USING ({facts['using']})")
    if "check" in facts:
        words.append(f"WITH CHECK ({facts['check']})")
    return " ".join(words)


REPAIRS = Repairs(("column", "constraint", "index", "trigger", "rule", "policy"), _make, _drop, _alter, _needs_new)
