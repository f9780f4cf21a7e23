"""Write parameters into a statement as literals, with the types that psycopg would send. No server is involved."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from psycopg import Binary, adapters
from psycopg.adapt import AdaptersMap, Dumper, PyFormat, Transformer

__all__ = ["Unbindable", "bound", "literal", "numbered"]


class Unbindable(ValueError):
    """Parameters that psycopg would reject, or whose type only a server knows. The message says why."""


class _Hexadecimal(Dumper):
    """Bytes in hexadecimal form. libpq's own escaping depends on earlier connections of the process."""

    oid = adapters.types["bytea"].oid

    def dump(self, obj: Any) -> bytes:
        return b"\\x" + bytes(getattr(obj, "obj", obj)).hex().encode()


_ADAPTERS = AdaptersMap(adapters)
for _kind in (bytes, bytearray, memoryview, Binary):
    _ADAPTERS.register_dumper(_kind, _Hexadecimal)

# psycopg 3, "Passing parameters to SQL queries": %s or %(name)s, with b or t in place of s; %% is a percent sign.
_PLACEHOLDER = re.compile(r"%(?:%|(?:\((?P<name>[^)]+)\))?(?P<format>.))", re.DOTALL)
_INTEGER_CAST = re.compile(r"::(?:SMALLINT|INTEGER|BIGINT)\b", re.IGNORECASE)


def bound(query: str, parameters: Sequence[Any] | Mapping[str, Any] | None) -> str:
    """Return the query with its parameters as literals. Types that psycopg leaves to the server stay open.

    Args:
        query: with psycopg's placeholders.
        parameters: None leaves `%` unchanged. Empty parameters do not.

    Raises:
        Unbindable: psycopg would reject the parameters.

    """
    if parameters is None:
        return query

    def write(match: re.Match[str], given: Any) -> str:
        written = literal(given)
        # The query's own cast replaces the type anyway.
        is_cast = written.endswith("::int2") and _INTEGER_CAST.match(query, match.end())
        return str(given) if is_cast and type(given) is int and given >= 0 else written

    return _replaced(query, parameters, write)


def numbered(query: str, parameters: Sequence[Any] | Mapping[str, Any]) -> tuple[str, list[bool]]:
    """Return the query with $1, $2 … as the server parses it, and for each one whether it has a type.

    A name that is used twice gets two numbers. Raises Unbindable as `bound` does.
    """
    typed: list[bool] = []

    def write(_: re.Match[str], given: Any) -> str:
        # A text without a type ends with its quote.
        typed.append(not literal(given).endswith(("'", "NULL")))
        return f"${len(typed)}"

    return _replaced(query, parameters, write), typed


def _replaced(
    query: str, parameters: Sequence[Any] | Mapping[str, Any], write: Callable[[re.Match[str], Any], str]
) -> str:
    place = 0

    def value(match: re.Match[str]) -> str:
        nonlocal place
        if match[0] == "%%":
            return "%"
        if match["format"] in {"b", "t"}:
            raise Unbindable(f"{match[0]} sends it in a form of its own: write %s")
        if match["format"] != "s":
            raise Unbindable(f"psycopg reads {match[0]!r} as a placeholder: write %% for a percent sign")
        if isinstance(parameters, Mapping) != (match["name"] is not None):
            raise Unbindable(f"the placeholder {match[0]} does not go with these parameters")
        try:
            parameter = parameters[match["name"] if isinstance(parameters, Mapping) else place]  # type: ignore[index]
        except (KeyError, IndexError):
            raise Unbindable(f"there is no parameter for the placeholder {match[0]}") from None
        place += 1
        return write(match, parameter)

    text = _PLACEHOLDER.sub(value, query)
    if not isinstance(parameters, Mapping) and place != len(parameters):
        raise Unbindable(f"there are {place} placeholders for {len(parameters)} parameters")
    return text


def literal(value: Any) -> str:
    """Return the value as an SQL literal of the type that psycopg would send.

    Raises Unbindable if that is impossible.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    transformer = Transformer.from_context(_ADAPTERS)
    try:
        text = transformer.get_dumper(value, PyFormat.TEXT).dump(value)
        oid = transformer.get_dumper(value, PyFormat.AUTO).oid
    except Exception as error:
        raise Unbindable(str(error)) from None
    if text is None:
        return "NULL"
    written = bytes(text).decode()
    if oid == _INT4 and written.isdigit():
        return written
    if oid in _NUMBERS and written.replace(".", "").isdigit():
        return f"{written}::{_type_name(oid)}"
    return _quoted(written) + (f"::{_type_name(oid)}" if oid else "")


_INT4 = adapters.types["int4"].oid
_NUMBERS = {adapters.types[name].oid for name in ("int2", "int8", "numeric", "float8")}


def _type_name(oid: int) -> str:
    type_info = adapters.types.get(oid)
    if type_info is None:
        raise Unbindable(f"only the server knows the type with the number {oid}")
    return type_info.name + ("[]" if oid == type_info.array_oid else "")


def _quoted(text: str) -> str:
    if "\0" in text:
        raise Unbindable("a text cannot contain the character NUL")
    escaped = text.replace("'", "''")
    return "E'" + escaped.replace("\\", "\\\\") + "'" if "\\" in text else f"'{escaped}'"
