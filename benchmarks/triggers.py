"""What writes cost while a recipe's trigger serves code of two versions, as ratios to a table without the recipe.

Each recipe changes a copy of a table of tasks. The same statements run in turn on the copy and on the table. Each row
is written in a transaction of its own, as an application does; the update of all rows shows what the trigger itself
costs. Needs a PostgreSQL server (PG* variables, or the development server).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from shutil import copy

import psycopg

from benchmarks.measure import Claim, claim, report, seconds
from benchmarks.scripts import FIRST, write_history
from benchmarks.server import empty_database, url
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.backfills.work import fill_in
from pulumi_alembic.migrate.job import OPEN, SILENT, Job
from pulumi_alembic.migrate.recipes.table import read_table
from pulumi_alembic.migrate.recipes.templates import RECIPES
from pulumi_alembic.migrate.recipes.write import write

_ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
_WRITES, _UPDATES = 2_000, 7
_SINGLE, _BULK, _OTHER = 1.2, 2.0, 1.05
"""The most that writes cost: of one row, of all rows, and of a column that the recipe leaves alone."""

_CREATE = """
CREATE TABLE {0} (
    id int PRIMARY KEY, user_id int NOT NULL DEFAULT 1, title varchar(255) NOT NULL, description text, points int,
    status varchar(20) DEFAULT 'pending', due_date timestamptz, created_at timestamptz DEFAULT now(),
    updated_at timestamptz DEFAULT now()
) WITH (autovacuum_enabled = off);
CREATE INDEX {0}_user ON {0} (user_id);
CREATE INDEX {0}_status ON {0} (status)
"""
_FILL = """
INSERT INTO {} (id, user_id, title, description, points)
SELECT n, n %% 1000, 'title ' || n, 'n' || n || repeat(' word', 20), n FROM generate_series(1, %s) n
"""
_TEMPLATE = Path(__file__).parent.parent / "migrations" / "script.py.mako"


@dataclass(frozen=True)
class _Case:
    """A recipe with its arguments, and the column that code of before writes, with a value of the number `n`."""

    recipe: str
    given: dict[str, str]
    column: str
    value: str

    @property
    def table(self) -> str:
        return self.recipe.replace("-", "_")


_SPLIT = {
    "COLUMN": "description",
    "FIRST": "kind",
    "FIRST_VALUE": "left(description, 1)",
    "SECOND": "rest",
    "SECOND_VALUE": "substr(description, 2)",
    "VALUE": "kind || rest",
}
_CASES = (
    _Case("rename-column", {"OLD": "title", "NEW": "name"}, "title", "'title ' || {n}"),
    _Case("change-type", {"COLUMN": "points", "TYPE": "bigint"}, "points", "{n}"),
    _Case("split-column", _SPLIT, "description", "'n' || {n} || repeat(' word', 20)"),
)
_PLAIN = "plain"
_NUMBERS = count(_ROWS + 1)


def _prepare(folder: Path, address: str) -> None:
    """Create the table and a copy for each recipe, apply the expands, and complete their backfills."""
    tables = [_PLAIN, *(case.table for case in _CASES)]
    write_history(folder, [";".join(map(_CREATE.format, tables))])
    copy(_TEMPLATE, folder)
    migrator.migrate(Job(address, folder, FIRST), OPEN, SILENT)
    with psycopg.connect(address, autocommit=True) as connection:
        for table in tables:
            connection.execute(_FILL.format(table).encode(), [_ROWS])
        drafts = [RECIPES[case.recipe](connection, read_table(connection, case.table), case.given) for case in _CASES]
    write(folder, folder, [expand for expand, *_ in drafts])
    migrator.migrate(Job(address, folder), OPEN, SILENT)
    fill_in(Job(address, folder), SILENT)


def _of_rows(connection: psycopg.Connection, case: _Case, what: str, statement: str, limit: float) -> Claim:
    """Compare the statement, which writes a row of the `table`, between the copy and the table without the recipe."""
    times: dict[str, list[float]] = {case.table: [], _PLAIN: []}
    for table in times:
        connection.execute(f"VACUUM ANALYZE {table}".encode())
    for number in (next(_NUMBERS) for _ in range(_WRITES)):
        for table, of_table in times.items():
            sql, values = statement.format(table=table).encode(), {"n": number, "id": 1 + number * 61 % _ROWS}
            of_table.append(seconds(lambda: connection.execute(sql, values, prepare=True)))  # noqa: B023
    mine, theirs = map(statistics.median, times.values())
    return Claim(f"{case.recipe}: {what}", mine, theirs, mine / theirs, limit)


def _of_all_rows(connection: psycopg.Connection, case: _Case) -> Claim:
    def measured(table: str) -> float:
        connection.execute(f"DELETE FROM {table} WHERE id > {_ROWS}".encode())  # noqa: S608
        connection.execute(f"VACUUM {table}".encode())
        sql = f"UPDATE {table} SET {case.column} = {case.value.format(n=f'(id + {next(_NUMBERS)})')}"  # noqa: S608
        return seconds(lambda: connection.execute(sql.encode()))

    what = f"{case.recipe}: an update of all rows"
    return claim(what, lambda: measured(case.table), lambda: measured(_PLAIN), _BULK, rounds=_UPDATES)


def _claims(connection: psycopg.Connection, case: _Case) -> list[Claim]:
    value = case.value.format(n="%(n)s::int")
    update = f"UPDATE {{table}} SET {case.column} = {value} WHERE id = %(id)s"  # noqa: S608
    row = {"id": "%(n)s", "title": "'x'", case.column: value}
    insert = f"INSERT INTO {{table}} ({', '.join(row)}) VALUES ({', '.join(row.values())})"  # noqa: S608
    other = "UPDATE {table} SET status = %(n)s WHERE id = %(id)s"
    return [
        _of_rows(connection, case, "updates of a row", update, _SINGLE),
        _of_rows(connection, case, "inserts of a row", insert, _SINGLE),
        _of_rows(connection, case, "updates of another column", other, _OTHER),
        _of_all_rows(connection, case),
    ]


def main() -> None:
    """Measures and prints every claim; exit code 1 where one does not hold."""
    with tempfile.TemporaryDirectory() as name, empty_database() as database:
        address = url(database).replace("+psycopg", "")
        _prepare(Path(name) / "migrations", address)
        with psycopg.connect(address, autocommit=True) as connection:
            claims = [each for case in _CASES for each in _claims(connection, case)]
    sys.exit(0 if report(claims) else 1)


if __name__ == "__main__":
    main()
