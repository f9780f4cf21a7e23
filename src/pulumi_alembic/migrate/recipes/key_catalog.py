"""The columns of a key with the columns that refer to it, and all that is built on them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pulumi_alembic.errors import RecipeError
from pulumi_alembic.migrate.recipes.draft import execute
from pulumi_alembic.migrate.recipes.parts import INDEX_AGAIN, ROLLBACK, beside, literal
from pulumi_alembic.migrate.recipes.replacement import Replacement
from pulumi_alembic.migrate.recipes.table import Column, Table, read_table
from pulumi_alembic.migrate.recipes.tables import require_absent
from pulumi_alembic.sql.catalog import quoted

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["NARROWER", "ForeignKey", "KeyColumn", "KeyIndex", "KeyTable", "read_key"]

NARROWER = {"integer": ("smallint",), "bigint": ("smallint", "integer")}
"""By the new type, the types of columns that get it."""

_GREATEST = {"smallint": 2**15 - 1, "integer": 2**31 - 1, "bigint": 2**63 - 1}
_BYTES = 63 - len("_new")

_MOVED = """
WITH RECURSIVE moved AS (
    SELECT attrelid, attnum, 0 AS far FROM pg_attribute WHERE attrelid = %(table)s::regclass AND attname = %(column)s
    UNION SELECT a.attrelid, a.attnum, 1 FROM moved JOIN pg_constraint ON contype = 'f' AND confrelid = moved.attrelid
    CROSS JOIN LATERAL unnest(conkey, confkey) AS pair (mine, theirs)
    JOIN pg_attribute a ON (a.attrelid, a.attnum) = (conrelid, mine)
    WHERE theirs = moved.attnum AND format_type(a.atttypid, NULL) = ANY (%(narrower)s)
), ranked AS (
    SELECT attrelid, attnum, min(min(far)) OVER (PARTITION BY attrelid) AS far FROM moved GROUP BY attrelid, attnum
)
SELECT array_agg(attrelid::bigint ORDER BY far, attrelid, attnum), array_agg(attnum ORDER BY far, attrelid, attnum)
FROM ranked
"""
_MOVING = """
WITH moved AS (
    SELECT attrelid AS rel, attnum AS num, attname, attidentity, at, attacl IS NOT NULL OR attgenerated <> '' AS own
    FROM unnest(%(tables)s::oid[], %(numbers)s::int[]) WITH ORDINALITY AS given (rel, num, at)
    JOIN pg_attribute ON (attrelid, attnum) = (rel, num)
)
"""
_COLUMNS = """
SELECT rel::bigint, rel::regclass::text, attname, attidentity, col_description(rel, num) FROM moved ORDER BY at
"""
_SEQUENCES = """
SELECT rel::bigint, attname, deptype = 'i', quote_ident(nspname), relname, format_type(seqtypid, NULL), seqstart,
    seqincrement, seqmin, seqmax, seqcache, seqcycle
FROM moved JOIN pg_depend ON (refclassid, refobjid, refobjsubid) = ('pg_class'::regclass, rel, num)
JOIN pg_sequence ON seqrelid = objid JOIN pg_class c ON c.oid = objid JOIN pg_namespace n ON n.oid = relnamespace
WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i') ORDER BY relname
"""
_INDEXES = """
SELECT indrelid::bigint, relname, pg_get_indexdef(indexrelid), contype, pg_get_constraintdef(con.oid),
    indexrelid::bigint, con.oid::bigint
FROM pg_index JOIN pg_class c ON c.oid = indexrelid
LEFT JOIN pg_constraint con ON conindid = indexrelid AND conrelid = indrelid AND contype IN ('p', 'u')
WHERE EXISTS (SELECT FROM moved WHERE rel = indrelid AND num = ANY (indkey)) AND indisvalid
    AND indexprs IS NULL AND indpred IS NULL AND NOT (indisexclusion OR indisreplident OR indisclustered)
ORDER BY indrelid, contype, relname
"""
_KEYS = """
SELECT conrelid::bigint, confrelid::bigint, conrelid::regclass::text, confrelid::regclass::text, conname,
    pg_get_constraintdef(con.oid), convalidated, ends.mine, ends.theirs, con.oid::bigint, NULL
FROM pg_constraint con CROSS JOIN LATERAL (
    SELECT array_agg(mine.attname ORDER BY at) AS mine, array_agg(theirs.attname ORDER BY at) AS theirs
    FROM unnest(conkey, confkey) WITH ORDINALITY AS pair (here, there, at)
    JOIN pg_attribute mine ON (mine.attrelid, mine.attnum) = (conrelid, here)
    JOIN pg_attribute theirs ON (theirs.attrelid, theirs.attnum) = (confrelid, there)
) AS ends
WHERE contype = 'f' AND conparentid = 0 AND EXISTS (
    SELECT FROM moved WHERE (rel = conrelid AND num = ANY (conkey)) OR (rel = confrelid AND num = ANY (confkey)))
ORDER BY con.conrelid, conname
"""
_OTHERS = """
SELECT format('%%s.%%I is used by %%s', rel::regclass, attname, pg_describe_object(classid, objid, objsubid))
FROM moved JOIN pg_depend ON (refclassid, refobjid, refobjsubid) = ('pg_class'::regclass, rel, num)
WHERE objid <> ALL (%(handled)s)
    AND NOT EXISTS (SELECT FROM pg_attrdef WHERE pg_attrdef.oid = objid AND (adrelid, adnum) = (rel, num))
    AND NOT EXISTS (SELECT FROM pg_sequence WHERE seqrelid = objid)
    AND NOT EXISTS (SELECT FROM pg_constraint con WHERE con.oid = objid AND contype = 'n')
UNION SELECT format('%%s.%%I has rights of its own, or is computed', rel::regclass, attname) FROM moved WHERE own
UNION SELECT format('%%s has a comment', pg_describe_object(classoid, objoid, 0))
    FROM pg_description WHERE objoid = ANY (%(handled)s)
UNION SELECT format('%%s is partitioned, or inherits', oid::regclass) FROM pg_class WHERE oid = ANY (%(all)s)
    AND (relkind <> 'r' OR EXISTS (SELECT FROM pg_inherits WHERE pg_class.oid IN (inhrelid, inhparent)))
UNION SELECT format('%%s belongs to another role', oid::regclass) FROM pg_class
    WHERE oid = ANY (%(all)s) AND NOT pg_has_role(relowner, 'USAGE')
ORDER BY 1
"""
_SAME_RIGHTS = """
SELECT mine.relacl IS NOT DISTINCT FROM other.relacl FROM pg_class mine, pg_class other
WHERE mine.oid = %s::regclass AND other.oid = %s::regclass
"""
_SWAPPED = "renaming-column", "another column gets the name in the same transaction"
_IDENTITIES = {"": "", "a": "ALWAYS", "d": "BY DEFAULT"}
_KINDS = {"p": "PRIMARY KEY", "u": "UNIQUE"}


@dataclass(frozen=True)
class KeySequence:
    """A sequence that fills a column. `of_identity` is whether the column is an identity."""

    of_identity: bool
    schema: str
    name: str
    type: str
    start: int
    increment: int
    least: int
    greatest: int
    cache: int
    cycles: bool

    @property
    def sql(self) -> str:
        """The name as SQL, with the schema."""
        return f"{self.schema}.{quoted(self.name)}"

    @property
    def new(self) -> str:
        """The name of the sequence that takes its place, until then."""
        return f"{self.schema}.{quoted(temporary(self.name, 'new'))}"

    def require_replaceable(self, connection: Connection) -> None:
        """Raise RecipeError if another sequence takes the place of this one, and would have other rights."""
        if not self.of_identity:
            return
        require_absent(connection, self.new)
        with connection.transaction(force_rollback=True):
            connection.execute(f"CREATE SEQUENCE {self.new}".encode())
            [(same,)] = connection.execute(_SAME_RIGHTS, [self.sql, self.new]).fetchall()
        if not same:
            raise RecipeError(
                f"{self.sql} has rights that a new sequence has not by default: write the revisions by hand, and grant "
                "them on the new one"
            )

    def options(self, name: str) -> str:
        """Return the options of an identity whose sequence has this name."""
        values = {
            "START": (self.start, 1),
            "INCREMENT": (self.increment, 1),
            "MINVALUE": (self.least, 1),
            "MAXVALUE": (self.greatest, _GREATEST[self.type]),
            "CACHE": (self.cache, 1),
        }
        words = [f"{word} {value}" for word, (value, default) in values.items() if value != default]
        return f"({' '.join([f'SEQUENCE NAME {name}', *words, *['CYCLE'] * self.cycles])})"


@dataclass(frozen=True)
class KeyColumn:
    """A column that gets another type.

    Attributes:
        old: the column of before.
        type: the new type.
        identity: `ALWAYS` or `BY DEFAULT` if it is an identity.
        comment: None without one.
        sequences: the sequences that it owns.

    """

    old: Column
    type: str
    identity: str
    comment: str | None
    sequences: Sequence[KeySequence]

    @cached_property
    def new(self) -> Column:
        """The column that takes the place of the old one, by its name until then."""
        return replace(self.old, name=temporary(self.old.name, "new"), type=self.type)

    @cached_property
    def left(self) -> str:
        """The name of the old column behind that, as SQL."""
        return quoted(temporary(self.old.name, "old"))

    def swap(self, table: str) -> Iterable[str]:
        """Return statements that let the new column take the place of the old one."""
        alter, old, new = f"ALTER TABLE {table} ALTER COLUMN", self.old.sql, self.new.sql
        if self.old.required:
            yield execute(f"{alter} {new} DROP DEFAULT")
        for sequence in self.sequences:
            if sequence.of_identity:
                options = sequence.options(sequence.new)
                yield execute(f"{alter} {new} ADD GENERATED {self.identity} AS IDENTITY {options}")
                yield _position(sequence.new, "last_value", sequence.sql)
                yield execute(f"{alter} {old} DROP IDENTITY")
            else:
                yield execute(f"ALTER SEQUENCE {sequence.sql} AS {self.type} OWNED BY {table}.{new}")
        if self.old.default is not None:
            yield execute(f"{alter} {new} SET DEFAULT {self.old.default}")
            yield execute(f"{alter} {old} DROP DEFAULT")
        yield _rename(table, old, self.left, *_SWAPPED)
        yield _rename(table, new, old, *_SWAPPED)
        yield from self._names_sequences(back=False)
        if self.old.required:
            yield execute(f"{alter} {self.left} DROP NOT NULL")
        if self.comment is not None:
            yield execute(f"COMMENT ON COLUMN {table}.{old} IS {literal(self.comment)}")

    def swap_back(self, table: str) -> Iterable[str]:
        """Return statements that give the old column its place again."""
        alter, old, new = f"ALTER TABLE {table} ALTER COLUMN", self.old.sql, self.new.sql
        yield from self._names_sequences(back=True)
        yield _rename(table, old, new)
        yield _rename(table, self.left, old)
        if self.old.required:
            yield execute(f"{alter} {old} SET NOT NULL", "adding-not-nullable-field", ROLLBACK)
        for sequence in self.sequences:
            if sequence.of_identity:
                options = sequence.options(sequence.sql)
                yield execute(f"{alter} {old} ADD GENERATED {self.identity} AS IDENTITY {options}")
                yield _position(sequence.sql, f"least(last_value, {sequence.greatest})", sequence.new)
                yield execute(f"{alter} {new} DROP IDENTITY")
            else:
                yield execute(f"ALTER SEQUENCE {sequence.sql} AS {sequence.type} OWNED BY {table}.{old}")
        if self.old.default is not None:
            yield execute(f"{alter} {old} SET DEFAULT {self.old.default}")
            yield execute(f"{alter} {new} DROP DEFAULT")
        if self.old.required:
            yield execute(f"{alter} {new} SET DEFAULT 0")
        if self.comment is not None:
            yield execute(f"COMMENT ON COLUMN {table}.{old} IS {literal(self.comment)}")
            yield execute(f"COMMENT ON COLUMN {table}.{new} IS NULL")

    def _names_sequences(self, *, back: bool) -> Iterable[str]:
        for sequence in self.sequences:
            if sequence.of_identity:
                now, then = (sequence.sql, sequence.new) if back else (sequence.new, sequence.sql)
                yield execute(f"ALTER SEQUENCE {now} RENAME TO {then.removeprefix(f'{sequence.schema}.')}")


@dataclass(frozen=True)
class KeyIndex:
    """An index that has such a column.

    Attributes:
        definition: the statement that creates it.
        moved: the same on the new columns, under another name.
        kind: `PRIMARY KEY` or `UNIQUE` if it belongs to a constraint.
        constraint: the definition of that constraint.

    """

    name: str
    definition: str
    moved: str
    kind: str
    constraint: str

    @property
    def new(self) -> str:
        """The name of the index that takes its place, until then."""
        return temporary(self.name, "new")

    @property
    def is_unique(self) -> bool:
        """Whether it refuses duplicates."""
        return self.definition.startswith("CREATE UNIQUE")

    def drop(self, table: Table) -> str:
        """Return the statement that drops the index, with its constraint."""
        if self.kind:
            return execute(f"ALTER TABLE {table.sql} DROP CONSTRAINT {quoted(self.name)}")
        reason = "the table is locked for a moment anyway"
        return execute(f"DROP INDEX {beside(table, self.name)}", "require-concurrent-index-deletion", reason)

    def take(self, table: Table) -> str:
        """Return the statement that gives the new index the place of the old one."""
        name = quoted(self.name)
        if not self.kind:
            return execute(f"ALTER INDEX {beside(table, self.new)} RENAME TO {name}")
        add = f"ALTER TABLE {table.sql} ADD CONSTRAINT {name} {self.kind} USING INDEX {quoted(self.new)}"
        return execute(f"{add}{''.join(re.findall(' DEFERRABLE.*', self.constraint))}")

    def build_again(self, table: Table) -> Iterable[str]:
        """Return statements that build both indexes under lock."""
        if self.kind:
            add = f"ALTER TABLE {table.sql} ADD CONSTRAINT {quoted(self.name)} {self.constraint}"
            yield execute(add, "disallowed-unique-constraint", ROLLBACK)
        else:
            yield execute(self.definition, *INDEX_AGAIN)
        yield execute(self.moved, *INDEX_AGAIN)


@dataclass(frozen=True)
class KeyTable:
    """A table with such columns."""

    table: Table
    columns: Sequence[KeyColumn]
    indexes: Sequence[KeyIndex]

    @cached_property
    def replacement(self) -> Replacement:
        """The new columns, which a trigger fills from the old ones."""
        values = [f"{column.old.sql}::{column.type}" for column in self.columns]
        old, new = [column.old for column in self.columns], [column.new for column in self.columns]
        return Replacement(self.table, old, new, values, (), both=False)

    @property
    def names(self) -> str:
        """The names of the columns."""
        return ", ".join(column.old.name for column in self.columns)

    def require_accepted(self, connection: Connection) -> None:
        """Raise RecipeError if a name is taken, there is no primary key, or a sequence has rights of its own."""
        self.table.require_key()
        for column in self.columns:
            self.table.require_new(column.new.name)
            self.table.require_new(temporary(column.old.name, "old"))
            for sequence in column.sequences:
                sequence.require_replaceable(connection)
        for index in self.indexes:
            require_absent(connection, beside(self.table, index.new))


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key that has such a column on one of its sides. `new` is its definition on the new columns."""

    table: Table
    name: str
    definition: str
    new: str

    @property
    def alter(self) -> str:
        """The beginning of a statement that alters its table."""
        return f"ALTER TABLE {self.table.sql}"

    @property
    def new_name(self) -> str:
        """The name of the constraint that takes its place, until then."""
        return temporary(self.name, "new")

    def again(self) -> Iterable[str]:
        """Return statements that add both constraints under lock."""
        for name, definition in ((self.name, self.definition), (self.new_name, self.new)):
            add = f"{self.alter} ADD CONSTRAINT {quoted(name)} {definition}"
            yield execute(add, "adding-foreign-key-constraint", ROLLBACK)


def read_key(connection: Connection, table: Table, column: str, type: str) -> tuple[list[KeyTable], list[ForeignKey]]:
    """Return the tables with a column that needs the type, the given one first, and the foreign keys on such columns.

    Raises:
        RecipeError: something depends on one of the columns that is neither a key nor a plain index.

    """
    values: dict[str, Any] = {"table": table.full, "column": column, "narrower": [*NARROWER[type]]}
    with connection.transaction(force_rollback=True):
        # With this search_path, names are printed with their schema.
        connection.execute("SET LOCAL search_path = pg_catalog")
        [(values["tables"], values["numbers"])] = connection.execute(_MOVED, values).fetchall()
        columns, sequences, indexes, keys = (
            connection.execute(f"{_MOVING}{query}".encode(), values).fetchall()
            for query in (_COLUMNS, _SEQUENCES, _INDEXES, _KEYS)
        )
        values["handled"] = [oid for row in (*indexes, *keys) for oid in row[-2:] if oid]
        values["all"] = [*values["tables"], *(oid for row in keys for oid in row[:2])]
        others = connection.execute(f"{_MOVING}{_OTHERS}".encode(), values).fetchall()
    if others:
        listed = "; ".join(text for (text,) in others)
        raise RecipeError(f"{listed}: this recipe moves only keys and plain indexes. Write the revisions by hand")
    names = (
        {oid: name for oid, name, *_ in columns} | {row[0]: row[2] for row in keys} | {row[1]: row[3] for row in keys}
    )
    tables = {oid: _read_beside(connection, table, name) for oid, name in names.items()}
    owned: dict[tuple[int, str], list[KeySequence]] = {}
    for oid, name, *more in sequences:
        owned.setdefault((oid, name), []).append(KeySequence(*more))
    several: dict[int, list[KeyColumn]] = {}
    for oid, _, name, identity, comment in columns:
        found = KeyColumn(tables[oid].column(name), type, _IDENTITIES[identity], comment, owned.get((oid, name), ()))
        several.setdefault(oid, []).append(found)
    renamed = {oid: {column.old.name: column.new.name for column in moved} for oid, moved in several.items()}
    parts = [
        KeyTable(tables[oid], moved, [_index(tables[oid], row, renamed[oid]) for row in indexes if row[0] == oid])
        for oid, moved in several.items()
    ]
    for part in parts:
        part.require_accepted(connection)
    return parts, [_foreign_key(tables, row, renamed) for row in keys]


def _read_beside(connection: Connection, table: Table, full: str) -> Table:
    """Return a table by its full name. One beside the given table is named as that was, with or without a schema."""
    schema, (typed, dot, _) = table.full.removesuffix(quoted(table.name)), table.sql.rpartition(".")
    named = read_table(connection, f"{typed}{dot}{full.removeprefix(schema)}") if full.startswith(schema) else None
    return named if named and named.full == full else read_table(connection, full)


def _index(table: Table, row: Sequence[Any], new: Mapping[str, str]) -> KeyIndex:
    _, name, definition, kind, constraint, *_ = row
    create, using, columns = definition.partition(" USING ")
    words = create.partition(f" {quoted(name)} ON ")[0]
    moved = f"{words} {quoted(temporary(name, 'new'))} ON {table.sql}{using}{_substituted(columns, new)}"
    return KeyIndex(name, definition, moved, _KINDS.get(kind, ""), constraint or "")


def _foreign_key(tables: Mapping[int, Table], row: Sequence[Any], new: Mapping[int, Mapping[str, str]]) -> ForeignKey:
    oid, other, _, full, name, definition, valid, mine, theirs, *_ = row
    if not valid:
        raise RecipeError(f"{tables[oid].full}: the constraint {quoted(name)} is not valid. Validate it first")
    here, there = new.get(oid, {}), new.get(other, {})
    old = _ends(full, mine, theirs)
    ends = _ends(tables[other].sql, [here.get(name, name) for name in mine], [there.get(name, name) for name in theirs])
    return ForeignKey(tables[oid], name, definition, f"{ends}{_substituted(definition.removeprefix(old), here)}")


def _ends(other: str, mine: Iterable[str], theirs: Iterable[str]) -> str:
    return f"FOREIGN KEY ({', '.join(map(quoted, mine))}) REFERENCES {other}({', '.join(map(quoted, theirs))})"


def _substituted(text: str, new: Mapping[str, str]) -> str:
    """Return the SQL with other names for columns."""
    names = {quoted(old): quoted(name) for old, name in new.items()}
    if not names:
        return text
    words = "|".join(map(re.escape, names))
    return re.sub(rf'(?<![\w"$])(?:{words})(?![\w"$])', lambda match: names[match[0]], text)


def temporary(name: str, word: str) -> str:
    """Return a name that stands for another one for a time."""
    while len(name.encode()) > _BYTES:
        name = name[:-1]
    return f"{name}_{word}"


def _position(sequence: str, value: str, of: str) -> str:
    """Return the statement that lets a sequence go on where another one is."""
    return execute(f"SELECT setval({literal(sequence)}, {value}, is_called) FROM {of}")  # noqa: S608


def _rename(table: str, old: str, new: str, *allowed: str) -> str:
    return execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}", *allowed)
