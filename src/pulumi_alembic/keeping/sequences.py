"""How far the sequences of a table's columns are: read before it is kept, and set where it is put back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_alembic.keeping.columns import read_columns

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection
    from pulumi_alembic.keeping.entry import Entry

__all__ = ["read_sequences", "set_sequences"]

_SEQUENCES = """
SELECT attname, pg_get_serial_sequence(%(table)s, attname) FROM pg_attribute
WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
    AND pg_get_serial_sequence(%(table)s, attname) IS NOT NULL
"""
_SEQUENCE = """
SELECT seqincrement, pg_get_serial_sequence(%(table)s, %(column)s) FROM pg_sequence
WHERE seqrelid = to_regclass(pg_get_serial_sequence(%(table)s, %(column)s))
"""


def read_sequences(session: Connection, table: str) -> dict[str, tuple[int, bool]]:
    """By column, the last value of each sequence that is the table's own, and whether it was given out."""
    found = session.execute(_SEQUENCES, {"table": table}).fetchall()
    states = [session.execute(f"SELECT last_value, is_called FROM {name}".encode()) for _, name in found]
    return {column: (row[0], row[1]) for (column, _), state in zip(found, states, strict=True) for row in state}


def set_sequences(session: Connection, entry: Entry) -> None:
    """Each is where it was when its table was kept, unless it is beyond that."""
    columns = read_columns(session, entry.into)
    for column, (last, called) in entry.sequences.items():
        if column not in columns:
            continue
        found = session.execute(_SEQUENCE, {"table": entry.into, "column": column}).fetchone()
        if found is None:
            continue
        step, name = found
        [(now, used)] = session.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchall()
        ahead = (last, called) > (now, used) if step > 0 else (-last, called) > (-now, used)
        if ahead:
            session.execute("SELECT setval(%s, %s, %s)", [name, last, called])
