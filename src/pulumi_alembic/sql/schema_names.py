"""Names of schemas in statements. Scripts for tenants have none, because each tenant's schema has another name.

Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any

from pulumi_alembic.sql.parser import Node, ParseError, nodes, parse

__all__ = ["beyond_schema"]

_ALLOWED = {"pg_catalog", "information_schema", "pg_temp", ""}

_QUALIFIED = {
    "A_Expr": "name",
    "AlterDomainStmt": "typeName",
    "AlterEnumStmt": "typeName",
    "AlterFunctionStmt": "",
    "AlterTSConfigurationStmt": "cfgname",
    "AlterTSDictionaryStmt": "dictname",
    "CollateClause": "collname",
    "CreateDomainStmt": "domainname",
    "CreateEnumStmt": "typeName",
    "CreateFunctionStmt": "funcname",
    "CreateOpClassStmt": "opclassname",
    "CreateOpFamilyStmt": "opfamilyname",
    "CreateRangeStmt": "typeName",
    "CreateStatsStmt": "defnames",
    "CreateTrigStmt": "funcname",
    "DefineStmt": "defnames",
    "FuncCall": "funcname",
    "IndexElem": "opclass",
    "ObjectWithArgs": "objname",
    "TypeName": "names",
}
"""By the type of a node, its field with the parts of a name: the schema's name first, if there are several parts."""

_PARTS = {"OBJECT_COLUMN": 3, "OBJECT_TRIGGER": 3, "OBJECT_RULE": 3, "OBJECT_POLICY": 3, "OBJECT_TABCONSTRAINT": 3}
"""By the type of an object, the number of parts of its name if that includes a schema. Otherwise it is 2."""

_BY_METHOD = {"OBJECT_OPCLASS", "OBJECT_OPFAMILY"}
"""Objects whose name follows that of an access method."""

_BODY = {"DoStmt", "CreateFunctionStmt"}

_RELATION = "from|join|into|update|table|only|references|view|sequence|index|type|exists"
"""Words before the name of a relation or a type."""

_REGISTERED = {"regclass", "regproc", "regprocedure", "regtype", "regoper", "regoperator", "regcollation", "regconfig"}
_BY_TEXT = {"nextval", "currval", "setval", "to_regclass", "to_regproc", "to_regtype", "pg_get_serial_sequence"}
"""Functions whose first argument is a name as text."""

_PREFIX = re.compile(r'\s*("(?:[^"]|"")+"|[^\W\d][\w$]*)\s*\.')


def beyond_schema(sql: str, schemas: Collection[str] = ()) -> str:
    """Return how the text reaches beyond the current schema, such as `names the schema app`. Empty if it does not.

    Args:
        sql: Statements. A text that the parser rejects fails by itself.
        schemas: Names that are searched for in the bodies of functions and of DO, which have a language of their own.

    """
    try:
        statements = parse(sql, shared=True)
    except ParseError:
        return ""
    for statement in statements:
        if extension := _extension(statement):
            return f"changes the extension {extension}, which all schemas share"
        for name in (*_names(statement), *_in_bodies(statement, schemas)):
            if name not in _ALLOWED:
                return f"names the schema {name}"
    return ""


def _extension(statement: Node) -> str:
    if statement.tag in ("CreateExtensionStmt", "AlterExtensionStmt"):
        return str(statement.extname)
    if statement.tag == "DropStmt" and statement.removeType == "OBJECT_EXTENSION":
        return str(statement.objects[0].sval)
    return ""


def _names(statement: Node) -> Iterator[str]:
    yield from _of_statement(statement)
    for node in nodes(statement, "RangeVar"):
        yield node.schemaname or ""
    for node in nodes(statement, *_QUALIFIED):
        yield _first(getattr(node, _QUALIFIED[node.tag] or "none"), 2)
    for node in nodes(statement, "PublicationObjSpec"):
        yield node.name or ""
    for node in nodes(statement, "ColumnRef"):
        yield _first(node.fields, 3)
    for node in nodes(statement, "TypeCast"):
        if node.typeName and node.typeName.names and node.typeName.names[-1].sval in _REGISTERED:
            yield _of_text(node.arg)
    for node in nodes(statement, "FuncCall"):
        if node.args and node.funcname[-1].sval in _BY_TEXT:
            yield from map(_of_text, node.args[:1])
        if node.args and node.funcname[-1].sval == "set_config" and _text(node.args[0]).lower() == "search_path":
            yield _path(node.args[1:2])
    for node in nodes(statement, "VariableSetStmt"):
        if (node.name or "").lower() == "search_path":
            yield _path(node.args or [])


def _of_statement(node: Node) -> Iterator[str]:
    if node.tag == "CreateSchemaStmt":
        yield node.schemaname or "its owner's"
    elif node.tag == "AlterObjectSchemaStmt":
        yield node.newschema
    elif node.tag in ("GrantStmt", "DropStmt", "RenameStmt", "AlterOwnerStmt", "CommentStmt", "SecLabelStmt"):
        yield from _of_objects(node)
    elif node.tag == "AlterDefaultPrivilegesStmt":
        for option in node.options or []:
            if option.defname == "schemas":
                yield _first(option.arg, 1)


def _of_objects(node: Node) -> Iterator[str]:
    kind = node.objtype or node.removeType or node.renameType or node.objectType
    if node.tag == "GrantStmt":
        if kind == "OBJECT_SCHEMA" or node.targtype == "ACL_TARGET_ALL_IN_SCHEMA":
            yield _first(node.objects, 1)
        return
    if kind == "OBJECT_SCHEMA":
        yield node.subname or _first(node.objects or [node.object], 1)
        return
    for name in node.objects or [node.object]:
        if isinstance(name, list):
            name = name[1:] if kind in _BY_METHOD else name
            yield _first(name, _PARTS.get(kind or "", 2))


def _first(parts: Any, number: int) -> str:
    """Return the first part of a name that has so many parts at least. Empty if it has fewer."""
    strings = [part.sval or "" for part in parts or [] if isinstance(part, Node)]
    return strings[0] if len(strings) >= number else ""


def _text(node: Any) -> str:
    value = node.val if isinstance(node, Node) and node.tag == "A_Const" else None
    return str(getattr(value, "sval", None) or "") if isinstance(value, Node) else str(value or "")


def _of_text(node: Any) -> str:
    if isinstance(node, Node) and node.tag == "TypeCast":
        node = node.arg
    found = _PREFIX.match(_text(node))
    return _plain(found[1]) if found else ""


def _path(values: list[Any]) -> str:
    named = (name.strip() for value in values for name in _text(value).split(","))
    return next((_plain(name) for name in named if name not in _ALLOWED), "")


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def _in_bodies(statement: Node, schemas: Collection[str]) -> Iterator[str]:
    if statement.tag not in _BODY or not schemas:
        return
    names = "|".join(re.escape(name) for name in sorted(schemas) if name not in _ALLOWED)
    if not names:
        return
    place = rf'"?({names})"?\s*\.'
    found = re.compile(rf'(?i:\b(?:{_RELATION})\s+){place}|(?<![\w."$]){place}\s*"?\w+"?\s*\(')
    for node in nodes(statement, "DefElem"):
        if node.defname == "as":
            for part in node.arg if isinstance(node.arg, list) else [node.arg]:
                yield from (match[1] or match[2] for match in found.finditer(part.sval or ""))
