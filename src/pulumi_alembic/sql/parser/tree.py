"""Nodes of a statement's tree, with PostgreSQL's names for types, fields and values of enums. Pure functions."""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["CONSTANTS", "TYPED", "Node", "children", "edited", "nodes", "positions", "trees"]


class Node:
    """A node of a tree. Its fields are attributes, None if absent.

    A flag that is off is absent too, and an absent member of a list is a node without a type. An enum's value is its
    name. PostgreSQL's field `def` is `def_`.

    Attributes:
        tag: the type, such as `SelectStmt`.
        location: the position of the node's token in characters, -1 if it has none of its own.

    """

    tag: str
    location: int

    __slots__ = ("__dict__", "tag")

    def __init__(self, fields: dict[str, Any], tag: str = "") -> None:
        self.__dict__ = fields
        self.tag = tag

    def __getattr__(self, name: str) -> Any:
        # Like every number, a position of 0 is absent.
        if name == "location":
            return 0
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__dict__.get("def") if name == "def_" else None

    def __repr__(self) -> str:
        return f"<{self.tag} {' '.join(self.__dict__)}>"


def edited(node: Node, **fields: Any) -> Node:
    """Return a copy of the node with these fields replaced. The children are shared."""
    if "def_" in fields:
        fields["def"] = fields.pop("def_")
    return Node({**node.__dict__, **fields}, node.tag)


def children(node: Node) -> list[Any]:
    """Return the nodes and lists of nodes in the node's fields."""
    return [value for value in node.__dict__.values() if type(value) is Node or type(value) is list]


def nodes(tree: Any, *tags: str) -> Iterator[Node]:
    """Yield all nodes of these types at any depth, in grammar order. `tree` is a node, a list or None."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += reversed(node)
        elif isinstance(node, Node):
            if node.tag in tags:
                yield node
            waiting += children(node)[::-1]


def trees(document: bytes, sql: str) -> list[Node]:
    """Return the statements of the text `sql` that libpg_query's JSON describes."""
    hook = _node
    if not sql.isascii():
        at = positions(sql)

        def hook(fields: dict[str, Any]) -> Any:
            for key in fields.keys() & _POSITIONS:
                fields[key] = at(fields[key])
            return _node(fields)

    try:
        parsed = json.loads(document, object_hook=hook)
    except RecursionError:
        parsed = _decoded(document.decode(), hook)
    return [statement.stmt for statement in parsed.stmts]


def positions(sql: str) -> Callable[[int], int]:
    """Return a function that converts byte positions in the text's UTF-8 to character positions."""
    if sql.isascii():
        return int
    starts = [number for number, byte in enumerate(sql.encode()) if byte & 0xC0 != 0x80]
    return lambda position: position if position < 0 else bisect_left(starts, position)


CONSTANTS = {"Integer": "ival", "Float": "fval", "Boolean": "boolval", "String": "sval", "BitString": "bsval"}
"""By the type of a constant, its field in A_Const, which PostgreSQL calls `val` for every type."""

TYPED = {
    field: tag
    for tag, fields in {
        "Alias": "alias join_using_alias",
        "CTECycleClause": "cycle_clause",
        "CTESearchClause": "search_clause",
        "CollateClause": "collClause",
        "CreateStmt": "base",
        "FuncCall": "funccall",
        "GrantStmt": "action",
        "InferClause": "infer",
        "IntoClause": "into intoClause",
        "JsonAggConstructor": "constructor",
        "JsonBehavior": "on_empty on_error",
        "JsonFormat": "format",
        "JsonOutput": "output",
        "JsonTablePathSpec": "pathspec",
        "JsonValueExpr": "arg context_item expr val value",
        "ObjectWithArgs": "fromsql func opername tosql",
        "OnConflictClause": "onConflictClause",
        "PartitionBoundSpec": "bound partbound",
        "PartitionSpec": "partspec",
        "PublicationTable": "pubtable",
        "JsonReturning": "returning",
        "RangeVar": "constrrel name pktable rel relation sequence table typevar view",
        "ReturningClause": "returningClause",
        "RoleSpec": "authrole grantor newowner newrole owner role user",
        "SelectStmt": "larg rarg",
        "TypeName": "argType datatype ofTypename returnType sourcetype storedtype targettype typeName type_name",
        "VariableSetStmt": "setstmt",
        "WindowDef": "over",
        "WithClause": "withClause",
        **CONSTANTS,
        "String": "extname sval",
    }.items()
    for field in fields.split()
}
"""Fields that always contain one type of node, which the JSON therefore does not name."""

_AMBIGUOUS = {"name": ("objname", "ObjectWithArgs"), "arg": ("key", "JsonKeyValue")}
"""Fields that contain another type of node if it has the first field."""

_ZERO = {"Integer": ("ival", 0), "Boolean": ("boolval", False)}
"""Constants for which an absent value means 0 or false."""

_POSITIONS = {"list_end", "list_start", "location", "name_location", "rexpr_list_end", "rexpr_list_start"}


def _node(fields: dict[str, Any]) -> Any:
    """Return the node of a JSON object, whose own objects are nodes: `{"Type": {…}}`, or only the fields of a node."""
    if len(fields) == 1:
        [(key, value)] = fields.items()
        if key[0] <= "Z":
            return value.__dict__.get("items", []) if key == "List" else _tagged(value, key)
    for field, value in fields.items():
        if type(value) is Node and not value.tag:
            mark, tag = _AMBIGUOUS.get(field, ("", ""))
            _tagged(value, tag if mark in value.__dict__ else TYPED.get(field, ""))
    return Node(fields)


def _tagged(node: Node, tag: str) -> Node:
    node.tag = tag
    if tag in _ZERO:
        node.__dict__.setdefault(*_ZERO[tag])
    elif tag == "A_Const":
        fields = node.__dict__
        for field in fields.keys() & CONSTANTS.values():
            fields["val"] = fields.pop(field)
    return node


_JSON = re.compile(r'[{}\[\]]|"(?:[^"\\]|\\.)*":?|[^\s{}\[\]",:]+')


def _decoded(document: str, hook: Callable[[dict[str, Any]], Any]) -> Any:
    """Return what json.loads would return, without recursion."""
    root: list[Any] = []
    containers: list[Any] = [root]
    keys: list[str] = []
    for match in _JSON.finditer(document):
        part = match[0]
        if part in "{[":
            containers.append({} if part == "{" else [])
            continue
        if part[-1] == ":":
            keys.append(json.loads(part[:-1]))
            continue
        value = json.loads(part) if part not in "}]" else containers.pop()
        if part == "}":
            value = hook(value)
        if isinstance(containers[-1], list):
            containers[-1].append(value)
        else:
            containers[-1][keys.pop()] = value
    return root[0]
