"""libpg_query, PostgreSQL 18's parser as a C library, called through ctypes.

This module relies on files without a stable interface: `libpg_query.so` and `pg_query.desc` in the wheel of `postgast`.
The wheel's own API takes 80 ms to import, and fails at 48 nested operators. The library loads in 3 ms, and returns
trees as JSON.

A release of `postgast` can move the files. It can also build the library from another libpg_query with other structures
than those below, which can crash the process. So `pyproject.toml` pins the minor version, and
`tests/unit/alembic/test_parser.py` fails first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from ctypes import CDLL, POINTER, Structure, c_char, c_char_p, c_int, c_size_t, string_at
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = ["UNRESERVED", "ParseError", "Token", "deparse", "description", "is_loaded", "parse", "scan", "split"]

UNRESERVED = 1
"""The lowest kind of keyword, which is a name wherever a name is expected. 0 means no keyword."""

_SHALLOW = 1_000
"""Bytes of a text that cannot overflow the stack of any thread: a byte needs at most 300 bytes of stack."""

_STACK = 512
"""Bytes of stack per byte of a longer text, which is parsed in a thread of its own."""

_LARGEST_STACK = 1 << 30

_starting = threading.Lock()


class ParseError(ValueError):
    """PostgreSQL's parser rejects a text.

    Attributes:
        position: in characters, None if unknown.

    """

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True)
class Token:
    """A token or comment of a text.

    Attributes:
        start: in bytes, like `end`.
        number: in libpg_query's enum of tokens.
        keyword: its kind of keyword, see UNRESERVED.

    """

    start: int
    end: int
    number: int
    keyword: int


class _Error(Structure):
    _fields_ = (
        ("message", c_char_p),
        ("funcname", c_char_p),
        ("filename", c_char_p),
        ("lineno", c_int),
        ("cursorpos", c_int),
        ("context", c_char_p),
    )


class _Bytes(Structure):
    _fields_ = (("length", c_size_t), ("data", POINTER(c_char)))


class _Tree(Structure):
    _fields_ = (("json", c_char_p), ("stderr", c_char_p), ("error", POINTER(_Error)))


class _Tokens(Structure):
    _fields_ = (("bytes", _Bytes), ("stderr", c_char_p), ("error", POINTER(_Error)))


class _Part(Structure):
    _fields_ = (("location", c_int), ("length", c_int))


class _Parts(Structure):
    _fields_ = (
        ("parts", POINTER(POINTER(_Part))),
        ("count", c_int),
        ("stderr", c_char_p),
        ("error", POINTER(_Error)),
    )


class _Text(Structure):
    _fields_ = (("sql", c_char_p), ("error", POINTER(_Error)))


def parse(sql: str) -> bytes:
    """Return the trees of a text's statements as JSON. Raises ParseError."""
    parsed: bytes = _run("parse", _encoded(sql), lambda tree: tree.json)
    return parsed


def split(sql: str, *, scanner: bool = False) -> list[tuple[int, int]]:
    """Return start and length in bytes of each statement of a text. Raises ParseError."""

    def read(answer: Any) -> list[tuple[int, int]]:
        parts = [answer.parts[number].contents for number in range(answer.count)]
        return [(part.location, part.length) for part in parts]

    result: list[tuple[int, int]] = _run(f"split_with_{'scanner' if scanner else 'parser'}", _encoded(sql), read)
    return result


def scan(sql: str) -> list[Token]:
    """Return the tokens and comments of a text. Raises ParseError."""
    message: bytes = _run("scan", _encoded(sql), lambda result: string_at(result.bytes.data, result.bytes.length))
    return [
        Token(token.get(1, 0), token.get(2, 0), token.get(4, 0), token.get(5, 0))
        for token in (dict(_fields(value)) for number, value in _fields(message) if number == 2)
    ]


def deparse(tree: bytes) -> str:
    """Return the text of a tree, which must be a whole `ParseResult` in protobuf format. Raises ParseError.

    Anything else, such as a part of a statement, crashes the process.
    """
    written: str = _run("deparse_protobuf", tree, lambda text: text.sql.decode())
    return written


def is_loaded() -> bool:
    """Return whether this process has loaded the library."""
    return _functions.cache_info().currsize > 0


def description() -> bytes:
    """Return the protobuf description of libpg_query's nodes, a FileDescriptorSet."""
    return (_folder() / "pg_query.desc").read_bytes()


def _fields(message: Any) -> list[tuple[int, Any]]:
    """Return numbers and values of the fields of a protobuf message that contains only integers and messages."""
    fields: list[tuple[int, Any]] = []
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        value, at = _varint(message, at)
        if key & 7 == 2:
            fields.append((key >> 3, message[at : at + value]))
            at += value
        else:
            fields.append((key >> 3, value))
    return fields


def _varint(message: Any, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _encoded(sql: str) -> bytes:
    """Return the text as the library takes it. Raises ParseError for characters that PostgreSQL does not allow."""
    if "\0" in sql:
        raise ParseError("a null character, which PostgreSQL takes in no statement", sql.index("\0"))
    try:
        return sql.encode()
    except UnicodeEncodeError as error:
        raise ParseError("a character that UTF-8 does not have", error.start) from None


def _run(name: str, data: bytes, read: Callable[[Any], Any]) -> Any:
    """Call a function of the library, return what `read` takes from its result, and free the result."""
    call, free, argument = _functions()[name]

    def run() -> Any:
        result = call(argument(data))
        try:
            if result.error:
                raise _error(result.error.contents)
            return read(result)
        finally:
            free(result)

    if len(data) <= _SHALLOW:
        return run()
    return _with_stack(min((1 << 20) + len(data) * _STACK, _LARGEST_STACK), run)


def _with_stack(size: int, run: Callable[[], Any]) -> Any:
    """Run the function in a thread with a stack of this size, because the library recurses without checking a limit.

    Raises ParseError if there is no memory for the stack.
    """
    outcome: list[Any] = []
    raised: list[ParseError] = []

    def work() -> None:
        try:
            outcome.append(run())
        except ParseError as error:
            raised.append(error)

    thread = threading.Thread(target=work, name="parser", daemon=True)
    with _starting:
        before = threading.stack_size(size)
        try:
            thread.start()
        except RuntimeError:
            raise ParseError(f"it is too long to be parsed: no memory for a stack of {size >> 20} MB") from None
        finally:
            threading.stack_size(before)
    thread.join()
    if raised:
        raise raised[0]
    return outcome[0]


def _error(error: Any) -> ParseError:
    """Convert an error. `cursorpos` counts characters from 1, and 0 means unknown."""
    return ParseError(error.message.decode(), error.cursorpos - 1 if error.cursorpos > 0 else None)


@cache
def _folder() -> Path:
    spec = find_spec("postgast")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("postgast is not installed: its wheel has PostgreSQL's parser")
    return Path(spec.submodule_search_locations[0])


@cache
def _functions() -> dict[str, tuple[Any, Any, Any]]:
    """Return the functions of the library by name, each with the one that frees its result and one for its argument."""
    [path, *_] = sorted(_folder().glob("libpg_query.*"))
    library = CDLL(str(path))
    functions = {}
    for name, result, free in (
        ("parse", _Tree, "parse"),
        ("scan", _Tokens, "scan"),
        ("split_with_parser", _Parts, "split"),
        ("split_with_scanner", _Parts, "split"),
        ("deparse_protobuf", _Text, "deparse"),
    ):
        call, free_result = library[f"pg_query_{name}"], library[f"pg_query_free_{free}_result"]
        takes_bytes = name == "deparse_protobuf"
        call.argtypes, call.restype = [_Bytes if takes_bytes else c_char_p], result
        free_result.argtypes, free_result.restype = [result], None
        functions[name] = (call, free_result, _bytes if takes_bytes else bytes)
    return functions


def _bytes(data: bytes) -> _Bytes:
    return _Bytes(len(data), (c_char * len(data)).from_buffer_copy(data))
