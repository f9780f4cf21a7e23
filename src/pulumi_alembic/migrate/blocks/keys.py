"""The key that a batched update walks along: a unique index of NOT NULL columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulumi_alembic.database.connection import find_relation
from pulumi_alembic.errors import HistoryError, MigrationError
from pulumi_alembic.scripts.shape import BatchedUpdate, Function, batched_updates

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["Key", "KeyMissing", "find_key", "refuse_keyless"]

_KEYS = """
SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.n), array_agg(quote_ident(a.attname) ORDER BY k.n),
    array_agg(format_type(a.atttypid, -1) ORDER BY k.n)
FROM pg_index i
CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND k.n <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary
HAVING bool_and(a.attnotnull)
ORDER BY i.indisprimary DESC, i.indexrelid
"""


class KeyMissing(MigrationError):
    """A table has no primary key, or not the requested key."""


@dataclass(frozen=True)
class Key:
    """The columns of a unique index in its order.

    Attributes:
        names: without quotes.
        columns: the names as SQL.
        types: as SQL.

    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    types: tuple[str, ...]


def find_key(
    connection: Connection, table: str, columns: Sequence[str] | None, asked_by: str = "batched_update"
) -> Key:
    """Return the key with these columns in any order, or the primary key if `columns` is None.

    `asked_by` is the function that the error names. Raises KeyMissing if there is no such key.
    """
    keys = connection.execute(_KEYS, [table]).fetchall()
    for primary, names, quoted, types in keys:
        if primary if columns is None else set(names) == set(columns):
            return Key(tuple(names), tuple(quoted), tuple(types))
    if columns is not None:
        raise KeyMissing(
            f"{asked_by} of {table}: ({', '.join(columns)}) is not a key of it, with a unique index and NOT NULL "
            f"throughout{_alternatives(keys)}"
        )
    raise KeyMissing(
        f"{asked_by} of {table}: the table has no primary key to walk along. Name another unique key of NOT NULL "
        f"columns: key=…{_alternatives(keys)}; or give it one in a revision before"
    )


def refuse_keyless(connection: Connection, functions: Iterable[Function], search_path: str) -> None:
    """Raise HistoryError if a batched update has no key in its table.

    A table that does not exist yet, or that an earlier script mentions, is checked right before the update's first row.

    Args:
        connection: a session of the database.
        functions: in the order in which they run.
        search_path: how the scripts' names are found.

    """
    before = ""
    for function in functions:
        for call in batched_updates(function):
            if call.table and not _spoken_of(call.table, before) and (call.key or not call.keyed):
                _refuse_keyless(connection, function, call, search_path)
        before += function.source


def _refuse_keyless(connection: Connection, function: Function, call: BatchedUpdate, search_path: str) -> None:
    table = find_relation(connection, call.table or "", search_path)
    if table is None:
        return
    try:
        find_key(connection, table, call.key, call.function)
    except KeyMissing as error:
        raise HistoryError(f"{function.path}:{call.line}: {error}") from None


def _spoken_of(table: str, sources: str) -> bool:
    return table.rpartition(".")[2].strip('"') in sources


def _alternatives(keys: Sequence[tuple[object, ...]]) -> str:
    return f" (there is {' and '.join(str(tuple(key[1])) for key in keys)})" if keys else ""  # type: ignore[arg-type]
