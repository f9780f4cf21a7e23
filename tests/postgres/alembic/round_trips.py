"""Random revisions for `test_round_trip`: a downgrade drops objects and rows, and the upgrade restores them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["BASE", "Draw", "Table", "draw", "fill"]

BASE = """
CREATE TYPE app.mood AS ENUM ('well', 'ill', 'so so');
CREATE DOMAIN app.short AS varchar(8) CHECK (VALUE <> 'never');
CREATE TYPE app.place AS (x int, named text);
CREATE SEQUENCE app.numbers;
CREATE COLLATION app.plain (provider = libc, locale = 'C');
CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'no writes'; END$$
"""
"""The objects that the first revision creates before its tables."""

_WORDS = ("", "a", "b", "A", "it''s", "ü é", "x y", '"q"', "\\", "%s", ":x", "null")


def _text(random: random.Random) -> str:
    return f"'{random.choice(_WORDS)}'"


TYPES: dict[str, Callable[[random.Random], str]] = {
    "int": lambda random: str(random.randint(-2, 6)),
    "smallint": lambda random: str(random.randint(-2, 6)),
    "text": _text,
    "varchar(8)": _text,
    "char(5)": _text,
    '"char"': lambda random: f"'{random.choice('abc')}'",
    "numeric(8, 2)": lambda random: str(random.randint(-999, 999) / 4),
    "double precision": lambda random: random.choice(("0.1", "'NaN'", "1e300", "-0.0", "3")),
    "boolean": lambda random: random.choice(("true", "false")),
    "date": lambda random: f"'2024-0{random.randint(1, 9)}-03'",
    "timestamptz": lambda random: f"'2024-03-0{random.randint(1, 9)} 04:05:06.123456+02'",
    "interval": lambda random: f"'{random.randint(0, 5)} days -3 hours'",
    "uuid": lambda random: f"'00000000-0000-0000-0000-00000000000{random.randint(0, 5)}'",
    "jsonb": lambda random: random.choice(("'null'", "'{\"a\": [1, null]}'", "'1.50'")),
    "json": lambda random: random.choice(("'null'", '\'{"a":  1, "a": 2}\'', "'1.50'")),
    "bytea": lambda random: "'\\x00ff'",
    "int[]": lambda random: random.choice(("'{}'", "'{1,NULL,3}'", "'[2:3]={1,2}'")),
    "int4range": lambda random: random.choice(("'[1,5)'", "'empty'", "'(,3]'")),
    "app.mood": lambda random: f"'{random.choice(('well', 'ill', 'so so'))}'",
    "app.mood[]": lambda random: random.choice(("'{}'", "'{ill,\"so so\",NULL}'")),
    "app.short": _text,
    "app.place": lambda random: random.choice(("'(1,)'", '\'(,"a ""b"", (c)")\'')),
    'text COLLATE app."plain"': _text,
}
KEYS = ("int", "text", "uuid", "app.short", "date", "app.mood")
TABLES = ('"Odd ""Name"""', "plain", '"select"', "things", '"with space"', "ü", "a1", "b2")
COLUMNS = ("name", '"Mixed Case"', '"order"', "size", "kind", "note", '"a ""b"""', "flag", "at", "z9")


@dataclass
class Column:
    """A column of a draw.

    `refers` is the table that a foreign key names. A `computed` column never gets a value. A `checked` column has a
    constraint with another column, so a revision that inserts into both could fail by itself.
    """

    name: str
    type: str
    computed: bool = False
    given: bool = False
    checked: bool = False
    refers: Table | None = None


@dataclass
class Table:
    """A table of a draw. Its names are written as in SQL."""

    schema: str
    short: str
    columns: list[Column] = field(default_factory=list)
    key: list[Column] = field(default_factory=list)
    foreign: list[tuple[list[Column], Table]] = field(default_factory=list)
    forced: bool = False
    split: bool = False
    """Whether it is partitioned."""

    @property
    def name(self) -> str:
        """The name with its schema."""
        return f"{self.schema}.{self.short}"


@dataclass
class Draw:
    """Statements up and down, of the first and of the second revision. `has` names the features that they exercise."""

    seed: int
    tables: list[Table] = field(default_factory=list)
    first: list[tuple[str, str]] = field(default_factory=list)
    second: list[tuple[str, str]] = field(default_factory=list)
    has: set[str] = field(default_factory=set)

    def up(self, steps: Sequence[tuple[str, str]]) -> list[str]:
        """Return the statements of the upgrade."""
        return [up for up, _ in steps if up]

    def down(self, steps: Sequence[tuple[str, str]]) -> list[str]:
        """Return the statements of the downgrade."""
        return [down for _, down in reversed(steps) if down]


def draw(seed: int) -> Draw:
    """Return the draw of a seed, which is always the same."""
    return _Drawing(seed).draw()


class _Drawing:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._draw = Draw(seed)
        self._names = self._random.sample(TABLES, len(TABLES))
        self._steps = self._draw.first
        self._numbers = 0

    def draw(self) -> Draw:
        pick = self._random
        for _ in range(pick.randint(1, 3)):
            self._table(keyless=0.1)
        old = list(self._draw.tables)
        self._steps = self._draw.second
        if pick.random() < 0.15:
            self._rename(pick.choice(old))
        for _ in range(pick.randint(0, 3)):
            self._table(keyless=0.2, partitions=0.2)
        for _ in range(pick.randint(0, 4)):
            self._foreign_key()
        for _ in range(pick.randint(0, 4)):
            self._add_column(pick.choice(old if pick.random() < 0.8 else self._draw.tables))
        new = [each for each in self._draw.tables if each not in old]
        for table in new:
            if pick.random() < 0.35:
                self._seed(table)
        if pick.random() < 0.2:
            self._rename(pick.choice(self._draw.tables))
        for table in self._draw.tables:
            self._protect(table)
        return self._draw

    def _add(self, up: str, down: str = "", *has: str) -> None:
        self._steps.append((up, down))
        self._draw.has.update(has)

    def _column(self, table: Table, type: str = "") -> Column:
        used = {each.name for each in table.columns}
        name = self._random.choice([each for each in COLUMNS if each not in used])
        return Column(name, type or self._random.choice(list(TYPES)))

    def _table(self, *, keyless: float, partitions: float = 0.0) -> None:
        pick = self._random
        table = Table("app", self._names.pop())
        parts = []
        if pick.random() < partitions:
            self._partitioned(table)
            return
        if pick.random() >= keyless:
            parts += self._key(table)
        for _ in range(pick.randint(1, 3)):
            column = self._column(table)
            parts.append(self._defined(table, column))
            table.columns.append(column)
        if table.key and pick.random() < 0.3 and len(table.key) == 1:
            column = self._column(table, table.key[0].type)
            column.refers = table
            table.columns.append(column)
            parts.append(f"{column.name} {column.type} REFERENCES {table.name} (id) {pick.choice(_ACTIONS)}")
            self._draw.has.add("a self-reference")
        cascade = pick.choice(("", "", " CASCADE"))
        self._draw.tables.append(table)
        exists = pick.choice(("", "IF EXISTS "))
        self._add(f"CREATE TABLE {table.name} ({', '.join(parts)})", f"DROP TABLE {exists}{table.name}{cascade}")

    def _key(self, table: Table) -> Iterator[str]:
        pick = self._random
        kind = pick.choice(("always", "default", "serial", "sequence", "plain", "plain", "composite", "unique"))
        types = {"plain": pick.choice(KEYS), "composite": pick.choice(KEYS), "unique": pick.choice(KEYS)}
        table.key = [Column("id", types.get(kind, "int"), given=kind in ("always", "default", "serial", "sequence"))]
        table.columns += table.key
        self._draw.has.add({"always": "identity", "default": "identity"}.get(kind, kind) + " key")
        if kind == "composite":
            second = Column("id2", pick.choice(KEYS))
            table.columns.append(second)
            table.key = [*table.key, second]
            order = pick.choice(("id, id2", "id2, id"))
            yield from (f"id {table.columns[0].type}", f"id2 {second.type}", f"PRIMARY KEY ({order})")
            if order == "id2, id":
                table.key.reverse()
        elif kind == "unique":
            yield f"id {table.columns[0].type} NOT NULL UNIQUE"
        else:
            words = {
                "always": "int GENERATED ALWAYS AS IDENTITY",
                "default": "int GENERATED BY DEFAULT AS IDENTITY (START 3 INCREMENT 2)",
                "serial": "serial",
                "sequence": "int DEFAULT nextval('app.numbers')",
            }
            yield f"id {words.get(kind, table.key[0].type)} PRIMARY KEY"

    def _partitioned(self, table: Table) -> None:
        pick = self._random
        table.split = True
        key = Column("id", "int")
        other = self._column(table)
        table.columns += [key, other]
        table.key = [key] if pick.random() < 0.7 else []
        self._draw.tables.append(table)
        keyed = "id int PRIMARY KEY" if table.key else "id int"
        bare = table.short.strip('"').replace('""', "")
        name = f"{table.schema}.{{}}".format
        low, rest = name(f'"{bare} low"'), name(f'"{bare} rest"')
        split = f"PARTITION OF {table.name}"
        self._add(
            f"CREATE TABLE {table.name} ({keyed}, {other.name} {other.type}) PARTITION BY RANGE (id); "
            f"CREATE TABLE {low} {split} FOR VALUES FROM (-5) TO (2); CREATE TABLE {rest} {split} DEFAULT",
            f"DROP TABLE {table.name}",
            "partitions",
        )

    def _defined(self, table: Table, column: Column) -> str:
        """Return the definition of a column, with a random choice of clauses."""
        pick, value = self._random, TYPES[column.type]
        text = f"{column.name} {column.type}"
        chance = pick.random()
        if chance < 0.15:
            self._draw.has.add("a default")
            column.given = True
            text += f" DEFAULT {value(pick)}" + pick.choice(("", " NOT NULL"))
        elif chance < 0.2 and table.key and table.key[0].type == "int":
            column.computed = True
            column.type = "int"
            self._draw.has.add("a generated column")
            return f"{column.name} int GENERATED ALWAYS AS ({table.key[0].name} * 2) STORED"
        elif chance < 0.3 and column.type in ("int", "text", "date"):
            self._draw.has.add("a unique constraint")
            text += " UNIQUE"
        elif chance < 0.4:
            text += " NOT NULL"
        return text

    def _foreign_key(self) -> None:
        """Add a foreign key on a new column, in either direction, so that cycles occur."""
        pick = self._random
        child, parent = pick.choice(self._draw.tables), pick.choice(self._draw.tables)
        if not parent.key or len(child.columns) > 7:
            return
        columns = [self._column(child, each.type) for each in parent.key]
        if len(columns) > 1:
            columns[0].name, columns[1].name = f"r{len(child.columns)}", f"q{len(child.columns)}"
            self._draw.has.add("a composite foreign key")
        for each in columns:
            each.refers = parent
            child.columns.append(each)
            self._add(
                f"ALTER TABLE {child.name} ADD COLUMN {each.name} {each.type}",
                f"ALTER TABLE {child.name} DROP COLUMN {each.name}",
                "a foreign key of a new column",
            )
        self._numbers += 1
        own, others = (", ".join(each.name for each in some) for some in (columns, parent.key))
        child.foreign.append((columns, parent))
        deferred = pick.choice(("", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"))
        self._add(
            f"ALTER TABLE {child.name} ADD CONSTRAINT refers{self._numbers} FOREIGN KEY ({own}) "
            f"REFERENCES {parent.name} ({others}) {pick.choice(_ACTIONS)}{deferred}",
            f"ALTER TABLE {child.name} DROP CONSTRAINT refers{self._numbers}",
        )
        if self._is_cycle(child, parent):
            self._draw.has.add("a cycle of foreign keys")

    def _is_cycle(self, child: Table, parent: Table) -> bool:
        seen, waiting = [parent], [parent]
        while waiting:
            for _, above in waiting.pop().foreign:
                if not any(above is each for each in seen):
                    seen.append(above)
                    waiting.append(above)
        return any(child is each for each in seen) and child is not parent

    def _add_column(self, table: Table) -> None:
        pick = self._random
        if len(table.columns) > 7:
            return
        column, name = self._column(table), table.name
        drop = f"ALTER TABLE {name} DROP COLUMN {column.name}"
        kind = pick.choice(("plain", "plain", "serial", "identity", "backfill", "backfill", "two", "required"))
        if kind == "identity" and table.split:
            # PostgreSQL knows it from version 17 on.
            kind = "serial"
        table.columns.append(column)
        if kind == "serial":
            column.type, column.given = "int", True
            unique = pick.choice(("", " UNIQUE"))
            self._add(f"ALTER TABLE {name} ADD COLUMN {column.name} serial{unique}", drop, "a serial column")
        elif kind == "identity":
            column.type, column.given = "int", True
            how, unique = pick.choice(("ALWAYS", "BY DEFAULT")), pick.choice(("", " UNIQUE"))
            self._add(
                f"ALTER TABLE {name} ADD COLUMN {column.name} int GENERATED {how} AS IDENTITY{unique}",
                drop,
                "an identity column",
            )
        elif kind == "backfill":
            self._add(f"ALTER TABLE {name} ADD COLUMN {column.name} {column.type}", drop, "a backfill")
            where = pick.choice(("", f" WHERE {column.name} IS NULL"))
            self._add(f"UPDATE {name} SET {column.name} = {TYPES[column.type](pick)}{where}")
            if pick.random() < 0.6:
                self._add(f"ALTER TABLE {name} ALTER {column.name} SET NOT NULL")
        elif kind == "two":
            other = self._column(table, "int")
            column.type = "int"
            column.checked = other.checked = True
            table.columns.append(other)
            self._add(
                f"ALTER TABLE {name} ADD COLUMN {column.name} int DEFAULT 1, ADD COLUMN {other.name} int DEFAULT 2, "
                f"ADD CHECK ({column.name} <= {other.name})",
                f"{drop}, DROP COLUMN {other.name}",
                "a check of two columns",
            )
        elif kind == "required":
            default = TYPES[column.type](pick)
            self._add(f"ALTER TABLE {name} ADD COLUMN {column.name} {column.type} NOT NULL DEFAULT {default}", drop)
            if pick.random() < 0.5:
                self._add(f"ALTER TABLE {name} ALTER {column.name} DROP DEFAULT")
        else:
            self._add(f"ALTER TABLE {name} ADD COLUMN {self._defined(table, column)}", drop)

    def _seed(self, table: Table) -> None:
        pick = self._random
        columns = [each for each in table.columns if not (each.computed or each.checked or each.refers)]
        for _ in range(pick.randint(1, 3)):
            values = ", ".join(TYPES[each.type](pick) for each in columns)
            names = ", ".join(each.name for each in columns)
            how = "OVERRIDING SYSTEM VALUE "
            self._add(
                f"INSERT INTO {table.name} ({names}) {how}VALUES ({values}) ON CONFLICT DO NOTHING", "", "seeded rows"
            )
        # A table with pending checks cannot be altered.
        self._add("SET CONSTRAINTS ALL IMMEDIATE")

    def _rename(self, table: Table) -> None:
        pick, old = self._random, table.name
        what = pick.choice(("table", "column", "schema"))
        self._draw.has.add("a rename in the revision")
        if what == "table":
            was, table.short = table.short, self._names.pop()
            self._add(f"ALTER TABLE {old} RENAME TO {table.short}", f"ALTER TABLE {table.name} RENAME TO {was}")
        elif what == "column":
            column = pick.choice(table.columns)
            was, column.name = column.name, "renamed"
            up, down = (f"RENAME {was} TO renamed", f"RENAME renamed TO {was}")
            self._add(f"ALTER TABLE {old} {up}", f"ALTER TABLE {old} {down}")
        else:
            table.schema = "aside"
            self._add(f"ALTER TABLE {old} SET SCHEMA aside", f"ALTER TABLE {table.name} SET SCHEMA app")

    def _protect(self, table: Table) -> None:
        pick = self._random
        if pick.random() < 0.15:
            when = pick.choice(("BEFORE INSERT OR UPDATE OR DELETE", "BEFORE UPDATE", "AFTER INSERT OR DELETE"))
            self._add(
                f"CREATE TRIGGER refuses {when} ON {table.name} FOR EACH ROW EXECUTE FUNCTION app.refuse()",
                f"DROP TRIGGER refuses ON {table.name}",
                "a trigger that refuses writes",
            )
        if pick.random() < 0.15:
            force = pick.choice(("ENABLE", "ENABLE", "FORCE"))
            table.forced = force == "FORCE"
            policy = pick.choice(("false", "true"))
            more = f"; ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY" if table.forced else ""
            self._add(
                f"CREATE POLICY hides ON {table.name} USING ({policy}); "
                f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY{more}",
                f"ALTER TABLE {table.name} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY; "
                f"DROP POLICY hides ON {table.name}",
                "row-level security",
            )


_ACTIONS = ("", "", "ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE")


def fill(connection: Connection, draw: Draw) -> None:
    """Insert and change random rows in every table, as many as the server accepts."""
    pick = random.Random(-draw.seed - 1)
    for table in draw.tables:
        connection.execute(f"ALTER TABLE {table.name} DISABLE TRIGGER USER".encode())
        connection.execute(f"ALTER TABLE {table.name} NO FORCE ROW LEVEL SECURITY".encode())
    for _ in range(2):
        for table in draw.tables:
            for _ in range(pick.randint(0, 4)):
                _try(connection, _insert(connection, table, pick))
    for table in draw.tables:
        for _ in range(pick.randint(0, 5)):
            _try(connection, _change(connection, table, pick))
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in draw.tables:
        connection.execute(f"ALTER TABLE {table.name} ENABLE TRIGGER USER".encode())
        if table.forced:
            connection.execute(f"ALTER TABLE {table.name} FORCE ROW LEVEL SECURITY".encode())


def _insert(connection: Connection, table: Table, pick: random.Random) -> str:
    chosen = {}
    for column in table.columns:
        if column.computed or (column.given and pick.random() < 0.6):
            continue
        chosen[column.name] = _value(connection, column, pick)
    for columns, parent in table.foreign:
        chosen |= dict(zip((each.name for each in columns), _parent(connection, parent, pick), strict=True))
    if not chosen:
        return f"INSERT INTO {table.name} DEFAULT VALUES"
    values = ", ".join(chosen.values())
    return f"INSERT INTO {table.name} ({', '.join(chosen)}) OVERRIDING SYSTEM VALUE VALUES ({values})"


def _value(connection: Connection, column: Column, pick: random.Random) -> str:
    if column.refers:
        return _parent(connection, column.refers, pick)[0]
    return "NULL" if pick.random() < 0.15 else TYPES[column.type](pick)


def _parent(connection: Connection, parent: Table, pick: random.Random) -> list[str]:
    keys = ", ".join(f"quote_nullable({each.name}::text)" for each in parent.key)
    rows = connection.execute(f"SELECT {keys} FROM {parent.name} ORDER BY 1".encode()).fetchall()
    return list(pick.choice(rows)) if rows and pick.random() < 0.85 else ["NULL"] * len(parent.key)


def _change(connection: Connection, table: Table, pick: random.Random) -> str:
    columns = [each for each in table.columns if not each.computed]
    rows = connection.execute(f"SELECT ctid::text, tableoid::regclass::text FROM {table.name} ORDER BY 2, 1".encode())
    found = rows.fetchall()
    if not found or not columns:
        return "SELECT 1"
    place, _ = pick.choice(found)
    if pick.random() < 0.2:
        return f"DELETE FROM {table.name} WHERE ctid = '{place}'"
    column = pick.choice(columns)
    sets = f"{column.name} = {_value(connection, column, pick)}"
    for several, parent in table.foreign:
        if column in several:
            pairs = zip(several, _parent(connection, parent, pick), strict=True)
            sets = ", ".join(f"{each.name} = {value}" for each, value in pairs)
    return f"UPDATE {table.name} SET {sets} WHERE ctid = '{place}'"


def _try(connection: Connection, statement: str) -> None:
    try:
        with connection.transaction():
            connection.execute(statement.encode())
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            connection.execute("SET CONSTRAINTS ALL DEFERRED")
    except psycopg.Error:
        pass
