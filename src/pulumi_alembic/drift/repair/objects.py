"""Statements that repair schemas, extensions and the objects in schemas. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from pulumi_alembic.drift.difference.names import split
from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.repair.statement import Facts, Made, Repairs, literal
from pulumi_alembic.drift.repair.table_parts import column, sequence_clauses

__all__ = ["REPAIRS", "rename"]

_ROWS = {
    "table": "its rows are lost: only a backup restores them",
    "sequence": "its position is lost: setval",
}
_GOES = {"table": "its rows are deleted", "extension": "it fails where something uses it"}


def _make(item: Item, expected: Snapshot) -> Made:
    """Yield the statements that create the item."""
    facts = item.facts
    match item.kind:
        case "schema":
            owner = expected.by_key[("owner", str(item))].facts["owner"]
            yield f"CREATE SCHEMA {item.name} AUTHORIZATION {owner}", ""
        case "extension":
            yield f"CREATE EXTENSION {item.name} SCHEMA {facts['schema']} VERSION {literal(facts['version'])}", ""
        case "type" if facts.get("composite"):
            yield f"CREATE TYPE {item.name} AS ({_columns(item, expected)})", ""
        case "type" if "subtype" in facts:
            yield f"CREATE TYPE {item.name} AS RANGE (SUBTYPE = {facts['subtype']})", ""
        case "type":
            yield f"CREATE TYPE {item.name} AS ENUM ({', '.join(map(literal, facts.get('labels', [])))})", ""
        case "domain":
            yield _domain(item), ""
        case "sequence" if facts.get("identity"):
            return
        case "sequence":
            yield f"CREATE SEQUENCE {item.name} {' '.join(sequence_clauses(facts['sequence']))}", _ROWS["sequence"]
        case "table":
            yield _table(item, expected), _ROWS["table"]
            yield from _alter_table(item, Item(item.kind, item.name, {**facts, **dict.fromkeys(_FLAGS)}))
        case "view" | "materialized view":
            options = f" WITH ({', '.join(facts['options'])})" if "options" in facts else ""
            yield f"CREATE {item.kind.upper()} {item.name}{options} AS {facts['query'].strip().removesuffix(';')}", ""
        case "function" | "procedure":
            yield facts["definition"].strip(), ""
            yield f"REVOKE ALL ON {item.kind.upper()} {item.name} FROM PUBLIC", ""
        case _:
            yield "", f"how to create the {item.kind} is not known: run the revision's own statement"
    if item.kind in ("type", "domain"):
        yield f"REVOKE ALL ON TYPE {item.name} FROM PUBLIC", ""


def _drop(item: Item) -> Made:
    """Yield the statement that drops the item."""
    yield f"DROP {item.kind.upper()} {item.name}", _GOES.get(item.kind, "")


def rename(expected: Item, found: Item) -> Iterator[str]:
    """Yield statements that rename the found object and move it to the expected schema."""
    was, now, noun = split(found.name), split(expected.name), expected.kind.upper()
    if was.schema != now.schema:
        yield f"ALTER {noun} {found.name} SET SCHEMA {now.schema}"
    if was.bare != now.bare:
        within = f"{now.schema}." if now.schema else ""
        yield f"ALTER {noun} {within}{was.bare}{was.arguments} RENAME TO {now.bare}"


def _needs_new(expected: Item, found: Item) -> bool:
    """Return whether the object must be dropped and created again, with everything on it."""
    facts, old = expected.facts, found.facts
    match expected.kind:
        case "materialized view":
            return bool(facts["query"] != old["query"])
        case "view":
            return list(facts["columns"])[: len(old["columns"])] != list(old["columns"])
        case "function" | "procedure":
            return _returned(facts) != _returned(old) or _loses_default(facts, old)
        case "extension":
            # Moving it needs the owner of its functions. The role that created a trusted extension does not own them.
            return bool(facts["schema"] != old["schema"])
    return False


def _alter(expected: Item, found: Item) -> Made:
    """Yield the statements that change the item to the expected state."""
    facts, old, name = expected.facts, found.facts, expected.name
    match expected.kind:
        case "table" | "materialized view":
            yield from _alter_table(expected, found)
        case "view":
            if facts["query"] != old["query"]:
                yield f"CREATE OR REPLACE VIEW {name} AS {facts['query'].strip().removesuffix(';')}", ""
            yield from _options(expected, found)
        case "function" | "procedure":
            yield facts["definition"].strip(), ""
        case "sequence":
            if facts["sequence"] != old["sequence"]:
                yield f"ALTER SEQUENCE {name} {' '.join(sequence_clauses(facts['sequence']))}", ""
            if facts.get("owned by") != old.get("owned by"):
                yield f"ALTER SEQUENCE {name} OWNED BY {facts.get('owned by', 'NONE')}", ""
        case "extension":
            yield f"ALTER EXTENSION {name} UPDATE TO {literal(facts['version'])}", "if an update path exists"
        case "domain":
            yield from _alter_domain(expected, found)
        case "type" if "labels" in facts:
            yield from _alter_enum(expected, found)
        case _:
            yield "", f"no statement changes this {expected.kind} in place"


_FLAGS = ("row level security", "forced row level security", "replica identity")


def _table(item: Item, expected: Snapshot) -> str:
    facts = item.facts
    unlogged = "UNLOGGED " if facts.get("unlogged") else ""
    words = [f"CREATE {unlogged}TABLE {item.name} ({_columns(item, expected)})"]
    if "partition by" in facts:
        words.append(f"PARTITION BY {facts['partition by']}")
    elif "inherits" in facts:
        words.append(f"INHERITS ({', '.join(facts['inherits'])})")
    if "options" in facts:
        words.append(f"WITH ({', '.join(facts['options'])})")
    return " ".join(words)


def _columns(item: Item, expected: Snapshot) -> str:
    own = [declared for declared in expected.columns(item.name) if not declared.facts.get("inherited")]
    return ", ".join(column(expected_column, expected) for expected_column in own)


def _alter_table(expected: Item, found: Item) -> Made:
    facts, old = expected.facts, found.facts
    lead = f"ALTER {expected.kind.upper()} {expected.name}"
    if facts.get("unlogged") != old.get("unlogged"):
        yield f"{lead} SET {'UNLOGGED' if facts.get('unlogged') else 'LOGGED'}", ""
    yield from _options(expected, found)
    if facts.get("row level security") != old.get("row level security"):
        yield f"{lead} {'ENABLE' if facts.get('row level security') else 'DISABLE'} ROW LEVEL SECURITY", ""
    if facts.get("forced row level security") != old.get("forced row level security"):
        yield f"{lead} {'FORCE' if facts.get('forced row level security') else 'NO FORCE'} ROW LEVEL SECURITY", ""
    replica = facts.get("replica identity", "DEFAULT") or "DEFAULT"
    if replica != (old.get("replica identity") or "DEFAULT") and replica != "INDEX":
        yield f"{lead} REPLICA IDENTITY {replica}", ""
    yield from ((f"{lead} NO INHERIT {parent}", "") for parent in _lacking(old, facts, "inherits"))
    yield from ((f"{lead} INHERIT {parent}", "") for parent in _lacking(facts, old, "inherits"))


def _options(expected: Item, found: Item) -> Made:
    lead = f"ALTER {expected.kind.upper()} {expected.name}"
    missing, extra = _lacking(expected.facts, found.facts, "options"), _lacking(found.facts, expected.facts, "options")
    reset = {option.partition("=")[0] for option in extra} - {option.partition("=")[0] for option in missing}
    if reset:
        yield f"{lead} RESET ({', '.join(sorted(reset))})", ""
    if missing:
        yield f"{lead} SET ({', '.join(missing)})", ""


def _lacking(facts: Facts, other: Facts, fact: str) -> list[str]:
    return [item for item in facts.get(fact) or () if item not in (other.get(fact) or ())]


def _domain(item: Item) -> str:
    facts = item.facts
    words = [f"CREATE DOMAIN {item.name} AS {facts['base']}"]
    words += [f"COLLATE {facts['collation']}"] if "collation" in facts else []
    words += [f"DEFAULT {facts['default']}"] if "default" in facts else []
    return " ".join([*words, *(["NOT NULL"] if facts.get("not null") else [])])


def _alter_domain(expected: Item, found: Item) -> Made:
    facts, old, lead = expected.facts, found.facts, f"ALTER DOMAIN {expected.name}"
    if facts.get("default") != old.get("default"):
        yield f"{lead} SET DEFAULT {facts['default']}" if "default" in facts else f"{lead} DROP DEFAULT", ""
    if facts.get("not null") != old.get("not null"):
        yield f"{lead} {'SET' if facts.get('not null') else 'DROP'} NOT NULL", ""
    if facts.get("base") != old.get("base"):
        yield "", "no statement changes the type of a domain in place"


def _alter_enum(expected: Item, found: Item) -> Made:
    labels, found_labels = expected.facts["labels"], list(found.facts.get("labels", []))
    lead = f"ALTER TYPE {expected.name}"
    other = [pair for pair in zip(labels, found_labels, strict=False) if pair[0] != pair[1]]
    if len(labels) == len(found_labels) and all(new not in found_labels and old not in labels for new, old in other):
        yield from ((f"{lead} RENAME VALUE {literal(old)} TO {literal(new)}", "") for new, old in other)
        return
    for number, label in enumerate(labels):
        if label not in found_labels:
            place = f"AFTER {literal(labels[number - 1])}" if number else f"BEFORE {literal(found_labels[0])}"
            yield f"{lead} ADD VALUE {literal(label)} {place if found_labels else ''}".rstrip(), ""
    if extra := [old_label for old_label in found_labels if old_label not in labels]:
        yield "", f"PostgreSQL takes no value out of an enum: {', '.join(extra)} can only go with the type"
    elif len(labels) == len(found_labels):
        yield "", "PostgreSQL changes no order of values: it can only come back with the type"


def _returned(facts: Facts) -> list[str]:
    return [line for line in str(facts["definition"]).splitlines()[:3] if "RETURNS" in line]


def _loses_default(facts: Facts, old: Facts) -> bool:
    """Return whether an argument has an unexpected default, which CREATE OR REPLACE cannot remove."""
    head, old_head = (str(side["definition"]).partition("\n")[0] for side in (facts, old))
    return head != old_head and " DEFAULT " in old_head


_KINDS = (
    "schema", "extension", "type", "domain", "sequence", "table", "foreign table", "view", "materialized view",
    "function", "procedure", "aggregate",
)  # fmt: skip
REPAIRS = Repairs(_KINDS, _make, _drop, _alter, _needs_new)
