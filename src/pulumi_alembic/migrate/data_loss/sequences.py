"""Sequences of a table's columns: read their state before the table is preserved, and set it after a restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.preserved_table import Entry

__all__ = ["read_sequences", "set_sequences"]

# A sequence that a column's default uses is not always owned by that column.
_SEQUENCES = """
SELECT attname, seqincrement, quote_ident(nspname) || '.' || quote_ident(relname) FROM (
    SELECT attname, to_regclass(pg_get_serial_sequence(%(table)s, attname))::oid AS oid FROM pg_attribute
    WHERE attrelid = to_regclass(%(table)s) AND attnum > 0 AND NOT attisdropped
    UNION SELECT attname, d.refobjid FROM pg_attribute a
    JOIN pg_attrdef f ON adrelid = attrelid AND adnum = attnum
    JOIN pg_depend d ON classid = 'pg_attrdef'::regclass AND objid = f.oid AND refclassid = 'pg_class'::regclass
    WHERE attrelid = to_regclass(%(table)s) AND NOT attisdropped
) AS owned JOIN pg_sequence ON seqrelid = owned.oid
JOIN pg_class c ON c.oid = seqrelid JOIN pg_namespace n ON n.oid = relnamespace
WHERE has_sequence_privilege(seqrelid, 'SELECT') AND has_sequence_privilege(seqrelid, 'UPDATE')
"""


def read_sequences(session: Connection, table: str) -> dict[str, tuple[int, bool]]:
    """Return the last value of each column's sequence, and whether that value was used."""
    rows = session.execute(_SEQUENCES, {"table": table}).fetchall()
    states = [session.execute(f"SELECT last_value, is_called FROM {name}".encode()) for *_, name in rows]
    return {column: (row[0], row[1]) for (column, *_), state in zip(rows, states, strict=True) for row in state}


def set_sequences(session: Connection, entry: Entry) -> None:
    """Set each sequence to its preserved state, unless it is ahead of that."""
    if not entry.sequences:
        return
    for column, step, name in session.execute(_SEQUENCES, {"table": entry.into}).fetchall():
        if column not in entry.sequences:
            continue
        last, called = entry.sequences[column]
        [(now, used)] = session.execute(f"SELECT last_value, is_called FROM {name}".encode()).fetchall()
        ahead = (last, called) > (now, used) if step > 0 else (-last, called) > (-now, used)
        if ahead:
            session.execute("SELECT setval(%s, %s, %s)", [name, last, called])
