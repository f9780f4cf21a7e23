"""Print trees as SQL. libpg_query prints only whole statements, so a part is printed within one. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from pulumi_alembic.sql.parser import library
from pulumi_alembic.sql.parser.tree import CONSTANTS, Node, children, edited

__all__ = ["identifier", "printed"]

_AROUND = {
    "ColumnDef": "ALTER TABLE t ADD COLUMN ",
    "Constraint": "ALTER TABLE t ADD ",
    "TypeName": "ALTER TABLE t ADD COLUMN c ",
}
"""The text before a part of this type in a statement that contains nothing else."""

_EXPRESSION = "SELECT "
_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_LIKE_A_KEYWORD = re.compile(r"[a-z_]{1,17}")
"""No keyword has a digit, and the longest is current_timestamp. Asking the scanner takes a hundred times as long."""

_JSON = "pg_catalog.json"


def printed(node: Node) -> str:
    """Return a statement, a column's definition, a constraint, a type or an expression as SQL.

    Raises:
        ParseError: libpg_query cannot print it.

    """
    if node.tag == "IndexStmt" and node.accessMethod == "btree":
        # The parser fills in the default.
        node = edited(node, accessMethod=None)
    if node.tag.endswith("Stmt"):
        return _printed(node)
    before = _AROUND.get(node.tag, _EXPRESSION)
    return _printed(_within(node)).removeprefix(before)


@lru_cache(1 << 16)
def identifier(name: str) -> str:
    """Return the name as PostgreSQL prints it, with quotes if they are needed."""
    if _PLAIN.fullmatch(name):
        if not _LIKE_A_KEYWORD.fullmatch(name):
            return name
        [token] = library.scan(name)
        if token.keyword <= library.UNRESERVED:
            return name
    return '"' + name.replace('"', '""') + '"'


def _within(node: Node) -> Node:
    if node.tag == "TypeName":
        node = Node({"colname": "c", "typeName": node, "is_local": True}, "ColumnDef")
    if node.tag == "ColumnDef":
        command = {"subtype": "AT_AddColumn", "def": node, "behavior": "DROP_RESTRICT"}
    elif node.tag == "Constraint":
        command = {"subtype": "AT_AddConstraint", "def": node, "behavior": "DROP_RESTRICT"}
    else:
        target = Node({"val": node}, "ResTarget")
        return Node({"targetList": [target], "limitOption": "LIMIT_OPTION_DEFAULT", "op": "SETOP_NONE"}, "SelectStmt")
    relation = Node({"relname": "t", "inh": True, "relpersistence": "p"}, "RangeVar")
    commands = [Node(command, "AlterTableCmd")]
    return Node({"relation": relation, "cmds": commands, "objtype": "OBJECT_TABLE"}, "AlterTableStmt")


def _printed(statement: Node) -> str:
    encoded: dict[int, bytes] = {}
    order = [statement]
    for node in order:
        order += _below(children(node))
    # Children come before their parent. A loop, because recursion would fail on a deep tree.
    for node in reversed(order):
        encoded[id(node)] = _message(node, encoded)
    raw = _block(1, _wrapped(statement, encoded))
    written = library.deparse(_block(2, raw))
    return _with_plain_json(written) if _JSON in written else written


def _with_plain_json(sql: str) -> str:
    """Replace the qualified name of the type json, which no other type can have, by the usual short one."""
    data, at, parts = sql.encode(), 0, []
    tokens = library.scan(sql)
    for first, last in zip(tokens, tokens[2:], strict=False):
        if data[first.start : last.end] == _JSON.encode():
            parts.append(data[at : first.start])
            at = last.start
    return b"".join([*parts, data[at:]]).decode()


def _below(values: list[Any]) -> list[Node]:
    """Return the nodes of nested lists."""
    below: list[Node] = []
    for name in values:
        below += _below(name) if isinstance(name, list) else [name]
    return below


def _message(node: Node, encoded: dict[int, bytes]) -> bytes:
    """Return the node as a protobuf message, built from those of its children."""
    written = []
    for name, value in node.__dict__.items():
        if value is None:
            continue
        if name == "val" and node.tag == "A_Const":
            name = CONSTANTS[value.tag]
        if name == "name" and node.tag == "FunctionParameter":
            # libpg_query prints this name without adding quotes.
            value = identifier(value)
        field = _fields(node.tag)[name]
        for item in value if isinstance(value, list) and field.repeated else [value]:
            written.append(_field(field, item, encoded))
    return b"".join(written)


def _field(field: _Field, value: Any, encoded: dict[int, bytes]) -> bytes:
    if isinstance(value, Node | list):
        return _block(field.number, _wrapped(value, encoded) if field.holds_any else encoded[id(value)])
    if isinstance(value, str) and not field.values:
        return _block(field.number, value.encode())
    return _varint(field.number << 3) + _varint(field.values[value] if isinstance(value, str) else value or 0)


def _wrapped(value: Any, encoded: dict[int, bytes]) -> bytes:
    """Return the message `Node`, which contains a node of any type. An absent node is empty."""
    if isinstance(value, list):
        return _block(_fields("Node")["List"].number, b"".join(_block(1, _wrapped(item, encoded)) for item in value))
    return _block(_fields("Node")[value.tag].number, encoded[id(value)]) if value.tag else b""


def _block(number: int, content: bytes) -> bytes:
    return b"".join((_varint(number << 3 | 2), _varint(len(content)), content))


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


@dataclass(frozen=True)
class _Field:
    """A field of a message: `values` are the numbers of its enum. With `holds_any` its type is Node."""

    number: int
    repeated: bool
    holds_any: bool
    values: Mapping[str, int]


@cache
def _fields(tag: str) -> Mapping[str, _Field]:
    """Return the fields of a node type by their JSON names."""
    messages, enums = _descriptions()
    return {
        field.json_name: _Field(
            field.number,
            field.label == field.LABEL_REPEATED,
            field.type_name == ".pg_query.Node",
            enums.get(field.type_name.rpartition(".")[2], {}),
        )
        for field in messages[tag].field
    }


@cache
def _descriptions() -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, int]]]:
    """Return the messages by name, and the numbers of each enum by name."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    [file] = FileDescriptorSet.FromString(library.description()).file
    enums = {message.name: {value.name: value.number for value in message.value} for message in file.enum_type}
    return {message.name: message for message in file.message_type}, enums
