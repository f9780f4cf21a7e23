"""The key by which a batched update walks its table: unique, never null, and with an index to walk along."""

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
    """A table has no key to walk along, or not the one that was named."""


@dataclass(frozen=True)
class Key:
    """The columns of one unique index, in its order: their names, the same as SQL, and their types as SQL."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    types: tuple[str, ...]


def find_key(
    connection: Connection, table: str, columns: Sequence[str] | None, asked_by: str = "batched_update"
) -> Key:
    """The key of these columns, in any order; the primary key if there are none.

    Raises KeyMissing, which names what `asked_by` it.
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
    """Raise HistoryError for a batched update, in what is to run in this order, whose table is there without its key.

    A table that is still to be made, or that a script before speaks of, is looked at when it is its turn: before the
    first row. Names are found as in a session that has the `search_path`.
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
