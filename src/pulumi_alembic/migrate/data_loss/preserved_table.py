"""Tables of the schema `kept`: preserved rows of a table, or values of its columns, that a revision dropped."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from psycopg import sql

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA
from pulumi_alembic.database.tenant import schema_of
from pulumi_alembic.migrate.data_loss.columns import read_columns
from pulumi_alembic.output.wording import plural
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.migrate.data_loss.catalog_after import Names

__all__ = ["Entry", "describe", "is_ready", "name_of", "new_id", "numbers", "read", "rename", "waits"]

_READY = """
SELECT FROM pg_namespace kept JOIN pg_namespace own ON own.nspowner = kept.nspowner
WHERE kept.nspname = %s AND own.nspname = %s AND pg_has_role(kept.nspowner, 'usage')
"""
_ENTRIES = """
SELECT relname, description FROM pg_class
JOIN pg_description ON objoid = pg_class.oid AND classoid = 'pg_class'::regclass AND objsubid = 0
WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' AND starts_with(description, %s)
"""
_LONGEST = 40


@dataclass(frozen=True)
class Entry:
    """A preserved table: rows of `table`, or values of its `columns`, that `revision` dropped.

    Names of tables are as PostgreSQL prints them.

    Attributes:
        into: the table to restore to. For a partition this is its partitioned table.
        name: the preserved table in the schema `kept`.
        key: the columns of the primary key, if it has values of columns.
        rows: how many, None if they were not counted in time.
        when: the time at which it was preserved, in ISO 8601.
        moved: the table itself was moved, not copied.
        types: types of the columns that are stored as text or as a domain's base type.
        sequences: last value of each column's sequence, and whether it was used.
        required: one of the columns is NOT NULL without a default.
        counts: values of each column.
        refers: tables that its foreign keys refer to.
        script: checksum of the revision's script.
        about: `rows` is approximate, because other sessions could still write.
        waits: the later revision with which it is restored. Empty if that is its own.
        why: how many could not be restored, by reason.
        restored_by: the direction that restores it: a downgrade's data by the upgrade, a contract's by its downgrade.

    """

    id: str
    revision: str
    table: str
    into: str
    name: str = ""
    columns: tuple[str, ...] = ()
    key: tuple[str, ...] = ()
    rows: int | None = None
    bytes: int = 0
    when: str = ""
    moved: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    sequences: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    required: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    refers: tuple[str, ...] = ()
    script: str = ""
    about: bool = False
    waits: str = ""
    why: Mapping[str, int] = field(default_factory=dict)
    restored_by: str = Direction.UPGRADE

    @property
    def place(self) -> str:
        """The preserved table, as SQL names it."""
        return sql.Identifier(KEPT_SCHEMA, self.name).as_string(None)

    @property
    def what(self) -> str:
        """The table or the columns, as a text."""
        return ", ".join(f"{self.table}.{quoted(column)}" for column in self.columns) or self.table

    def described(self, number: int | None) -> str:
        """Return a text such as `12,345 rows of app.messages` or `1 value of app.tasks.title`."""
        kind = plural(number, "value" if self.columns else "row")
        return f"{kind} of {self.what}" if number is None else f"{number:,} {kind} of {self.what}"

    @property
    def texts(self) -> list[str]:
        """Its contents as texts, one for each column."""
        if self.rows is None or self.about:
            return [("about " * (self.rows is not None)) + self.described(self.rows)]
        return (
            self.parts(self.counts or {"": self.rows})
            if self.counts or not self.columns
            else [self.described(self.rows)]
        )

    def parts(self, numbers: Mapping[str, int]) -> list[str]:
        """Return these numbers of rows, or of values by column, as texts. Zeros are left out."""
        return [
            replace(self, columns=(name,) if name else ()).described(number)
            for name, number in numbers.items()
            if number
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the entry as JSON values."""
        return asdict(self)


def _mark(connection: Connection) -> dict[str, Any]:
    """Return the fields that the comments begin with, which differ between tenants. No release reads one of another."""
    schema = schema_of(connection)
    return {"kept": 2, "tenant": schema} if schema else {"kept": 1}


def new_id() -> str:
    """Return eight random hexadecimal digits."""
    return secrets.token_hex(4)


def name_of(table: str, id: str) -> str:
    """Return the name of a preserved table: the beginning of its old name, and the id."""
    plain = "".join(character for character in table.rpartition(".")[2] if character.isalnum() or character == "_")
    while len(plain.encode()) > _LONGEST:
        plain = plain[:-1]
    return f"{plain}_{id}"


def describe(connection: Connection, entry: Entry) -> None:
    """Write the entry into the comment of its preserved table. A new one gets the current time."""
    document = {**asdict(entry), "when": entry.when or datetime.now(UTC).isoformat(timespec="milliseconds")}
    del document["name"]
    text = json.dumps({**_mark(connection), **document})
    connection.execute(
        sql.SQL("COMMENT ON TABLE {} IS {}").format(sql.Identifier(KEPT_SCHEMA, entry.name), sql.Literal(text))
    )


def numbers(connection: Connection, entry: Entry, columns: Sequence[str]) -> dict[str, int]:
    """Return how many values of each column the entry holds."""
    counted = sql.SQL(", ").join(sql.SQL("count({})").format(sql.Identifier(column)) for column in columns)
    place = sql.Identifier(KEPT_SCHEMA, entry.name)
    [row] = connection.execute(sql.SQL("SELECT {} FROM {}").format(counted, place)).fetchall()
    return dict(zip(columns, row, strict=True))


def is_ready(connection: Connection) -> bool:
    """Return whether the schema `kept` exists and belongs to the owner of the migration tables."""
    return connection.execute(_READY, [KEPT_SCHEMA, VERSION_SCHEMA]).fetchone() is not None


def read(connection: Connection) -> list[Entry]:
    """Return all preserved entries of the session's tenant, or of the database itself, the newest first."""
    begins = json.dumps(_mark(connection))[:-1] + ", "
    rows = connection.execute(_ENTRIES, [KEPT_SCHEMA, begins]).fetchall()
    entries = [entry for name, text in rows if (entry := _entry(name, text))]
    return sorted(entries, key=lambda preserved: (preserved.when, preserved.id), reverse=True)


def _entry(name: str, text: str) -> Entry | None:
    """Return the entry that a comment describes, or None if the comment is not ours."""
    try:
        document: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    names = {part_name.name for part_name in fields(Entry)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
    }
    values = {key: value for key, value in values.items() if key in names} | {"name": name}
    return Entry(**values) if {"id", "revision", "table", "into"} <= values.keys() else None


def rename(connection: Connection, entry: Entry, before: Names, now: Names) -> None:
    """Rename the table and columns in an entry that waits, after a revision has renamed them.

    Args:
        connection: the session of the revision.
        entry: an entry that waits for a later revision.
        before: the names before the revision.
        now: the names after it.

    """
    table = next((oid for oid, (name, _) in before.items() if name == entry.into), None)
    if table is None or table not in now or before[table] == now[table]:
        return
    (_, were), (into, columns) = before[table], now[table]
    called = {name: columns[number] for number, name in were.items() if columns.get(number, name) != name}
    place, holds = sql.Identifier(KEPT_SCHEMA, entry.name), read_columns(connection, entry.place)
    moves = [(name, f"{number} on its way", new) for number, (name, new) in enumerate(called.items()) if name in holds]
    for old, new in (*((name, between) for name, between, _ in moves), *((between, new) for _, between, new in moves)):
        # Two columns can have swapped their names.
        statement = sql.SQL("ALTER TABLE {} RENAME {} TO {}")
        connection.execute(statement.format(place, sql.Identifier(old), sql.Identifier(new)))
    entry = replace(
        entry,
        into=into,
        columns=tuple(called.get(name, name) for name in entry.columns),
        key=tuple(called.get(name, name) for name in entry.key),
        types={called.get(name, name): of for name, of in entry.types.items()},
        sequences={called.get(name, name): at for name, at in entry.sequences.items()},
        counts={called.get(name, name): number for name, number in entry.counts.items()},
    )
    describe(connection, entry)


def waits(mine: Sequence[Entry], kept: Sequence[Entry], following: Sequence[str]) -> list[tuple[Entry, str]]:
    """Return the entries of `mine` that cannot be restored before a later revision of this run, and that revision.

    Such a revision adds a required column without a default, and would fail with rows in the table. Either its values
    are preserved too, or the run that preserved the rows had dropped the column before. An entry that refers to rows of
    a waiting one waits too.

    Args:
        mine: entries of the running revision.
        kept: all preserved entries.
        following: ids of the later revisions of this run, in order.

    """
    until = {entry.into: following.index(entry.waits) for entry in mine if entry.waits in following}
    for place, revision in enumerate(following):
        for entry in kept:
            if entry.revision == revision and entry.required:
                until[entry.into] = max(place, until.get(entry.into, place))
    for _ in mine:
        for entry in mine:
            for parent in entry.refers:
                if (place := until.get(parent, -1)) > until.get(entry.into, -1):
                    until[entry.into] = place
    return [(entry, following[until[entry.into]]) for entry in mine if entry.into in until]
