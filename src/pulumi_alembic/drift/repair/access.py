"""Statements that repair roles, memberships, settings, owners, privileges and comments. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from pulumi_alembic.drift.difference.snapshot import Item, Snapshot
from pulumi_alembic.drift.repair.statement import Facts, Made, Repairs, literal

__all__ = ["REPAIRS"]

_ATTRIBUTES = ("SUPERUSER", "INHERIT", "CREATEROLE", "CREATEDB", "LOGIN", "REPLICATION", "BYPASSRLS")
_DATABASE = {
    "connection limit": "CONNECTION LIMIT", "allow_connections": "ALLOW_CONNECTIONS", "template": "IS_TEMPLATE",
}  # fmt: skip
# Settings whose value is a list of names, each of which is quoted (PostgreSQL 18, GUC_LIST_QUOTE).
_LISTS = (
    "local_preload_libraries", "search_path", "session_preload_libraries", "shared_preload_libraries",
    "temp_tablespaces", "unix_socket_directories",
)  # fmt: skip


def _make(item: Item, expected: Snapshot) -> Made:
    """Yield the statements that create the item."""
    facts = item.facts
    if item.kind in _SIMPLE:
        yield _SIMPLE[item.kind][0](facts), ""
    elif item.kind == "role":
        attributes = " ".join(_attributes(facts, {}))
        yield f"CREATE ROLE {item.name} {attributes}", "its password is not known: \\password"
    else:
        yield from _rights(item, facts["rights"], facts.get("usual", {}))


def _drop(item: Item) -> Made:
    """Yield the statements that drop the item. Unexpected roles are not reported, so they need none."""
    facts = item.facts
    if item.kind in _SIMPLE:
        yield _SIMPLE[item.kind][1](facts), ""
    elif "rights" in facts:
        yield from _rights(item, facts.get("usual", {}), facts["rights"])


def _alter(expected: Item, found: Item) -> Made:
    """Yield the statements that change the item to the expected state."""
    facts, old = expected.facts, found.facts
    if expected.kind == "role":
        if attributes := _attributes(facts, old):
            yield f"ALTER ROLE {expected.name} {' '.join(attributes)}", ""
    elif expected.kind == "database":
        yield from ((f"ALTER DATABASE {expected.name} {option}", "") for option in _options(facts, old))
    elif "rights" in facts:
        yield from _rights(expected, facts["rights"], old["rights"])
    elif expected.kind == "membership" and old.get("ADMIN") and not facts.get("ADMIN") and "SET" not in facts:
        yield f"REVOKE ADMIN OPTION FOR {facts['role']} FROM {facts['member']}", ""
    else:
        yield from _make(expected, Snapshot(()))


def _options(facts: Facts, old: Facts) -> Iterator[str]:
    for fact, option in _DATABASE.items():
        if facts.get(fact) != old.get(fact):
            yield f"{option} {facts.get(fact, False)}"


def _attributes(facts: Facts, old: Facts) -> list[str]:
    changed = [name for name in _ATTRIBUTES if facts[name] != old.get(name)]
    words = [name if facts[name] else f"NO{name}" for name in changed]
    if facts["connection limit"] != old.get("connection limit", -1):
        words.append(f"CONNECTION LIMIT {facts['connection limit']}")
    if facts.get("valid until") != old.get("valid until"):
        words.append(f"VALID UNTIL {literal(facts.get('valid until', 'infinity'))}")
    return words


def _grant_membership(facts: Facts) -> str:
    options = [f"{name} {str(facts[name]).upper()}" for name in ("ADMIN", "INHERIT", "SET") if name in facts]
    if "SET" not in facts:
        # Before PostgreSQL 16 there is only one option.
        options = ["ADMIN OPTION"] if facts.get("ADMIN") else []
    options_clause = f" WITH {', '.join(options)}" if options else ""
    return f"GRANT {facts['role']} TO {facts['member']}{options_clause}"


def _whose(facts: Facts) -> str:
    if "role" not in facts:
        return f"ALTER DATABASE {facts['database']}"
    within = f" IN DATABASE {facts['database']}" if "database" in facts else ""
    return f"ALTER ROLE {facts['role']}{within}"


def _value(facts: Facts) -> str:
    # A list of names is written as the catalog has it.
    return str(facts["value"]) if facts["setting"] in _LISTS and facts["value"] else literal(facts["value"])


def _comment(facts: Facts) -> str:
    noun, name = facts["on"].upper(), facts["object"]
    if "column" in facts:
        noun, name = "COLUMN", f"{name}.{facts['column']}"
    elif facts["on"] in ("constraint", "trigger", "rule", "policy"):
        name = f"{facts['name']} ON {facts.get('table') or 'DOMAIN ' + facts['domain']}"
    return f"COMMENT ON {noun} {name} IS"


def _rights(item: Item, expected: Facts, current: Facts) -> Made:
    facts = item.facts
    extra = [right for right in current if right not in expected]
    missing = [right for right in expected if right not in current or (expected[right] and not current[right])]
    options = [right for right in expected if right in current and current[right] and not expected[right]]
    lead, on, to = "", _on(facts), facts["grantee"]
    if item.kind == "default privileges":
        schema = f" IN SCHEMA {facts['schema']}" if "schema" in facts else ""
        lead = f"ALTER DEFAULT PRIVILEGES FOR ROLE {facts['role']}{schema} "
    if extra:
        yield f"{lead}REVOKE {_names(extra, facts)} ON {on} FROM {to}", ""
    if options:
        yield f"{lead}REVOKE GRANT OPTION FOR {_names(options, facts)} ON {on} FROM {to}", ""
    for grantable in (False, True):
        if grantable_rights := [right for right in missing if expected[right] is grantable]:
            option = " WITH GRANT OPTION" if grantable else ""
            yield f"{lead}GRANT {_names(grantable_rights, facts)} ON {on} TO {to}{option}", ""


def _on(facts: Facts) -> str:
    return str(facts["noun"]) if "object" not in facts else f"{facts['noun']} {facts['object']}"


def _names(rights: Iterable[str], facts: Facts) -> str:
    column = f" ({facts['column']})" if "column" in facts else ""
    return ", ".join(f"{right}{column}" for right in sorted(rights))


# Kinds with one statement that creates or changes an item, and one that drops it. An owner is only changed.
_SIMPLE: Mapping[str, tuple[Callable[[Facts], str], Callable[[Facts], str]]] = {
    "membership": (_grant_membership, lambda facts: f"REVOKE {facts['role']} FROM {facts['member']}"),
    "setting": (
        lambda facts: f"{_whose(facts)} SET {facts['setting']} TO {_value(facts)}",
        lambda facts: f"{_whose(facts)} RESET {facts['setting']}",
    ),
    "comment": (
        lambda facts: f"{_comment(facts)} {literal(facts['text'])}",
        lambda facts: f"{_comment(facts)} NULL",
    ),
    "owner": (
        lambda facts: f"ALTER {facts['kind'].upper()} {facts['object']} OWNER TO {facts['owner']}",
        lambda facts: "",
    ),
}

_KINDS = (
    "role", "membership", "setting", "database", "owner", "privileges", "default privileges", "comment",
)  # fmt: skip
REPAIRS = Repairs(_KINDS, _make, _drop, _alter)
