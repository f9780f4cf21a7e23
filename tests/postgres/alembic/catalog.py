"""A schema's definition as text, to compare two schemas."""

import os
import re
import shutil
import subprocess

from taskdb.local.binaries import Binaries
from tests.conftest import Database

OBJECTS = """
SELECT format('column %s.%s %s %s default %s', c.relname, attname, format_type(atttypid, atttypmod),
              CASE WHEN attnotnull THEN 'not null' END, pg_get_expr(adbin, adrelid))
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'app'::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE connamespace = 'app'::regnamespace AND contype <> 'n'
UNION ALL SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname = 'app'
UNION ALL SELECT format('relation %s %s', relkind, relname) FROM pg_class WHERE relnamespace = 'app'::regnamespace
ORDER BY 1
"""


def definition(database: Database, binaries: Binaries) -> str:
    """Return `pg_dump -s` of the schema `app`.

    If no pg_dump fits the server, as with a packaged server, return catalog lines.
    """
    pg_dump = _pg_dump(binaries)
    if pg_dump is None:
        with database.connect() as connection:
            return "\n".join(line for (line,) in connection.execute(OBJECTS))
    login = database.parameters
    printed = subprocess.run(
        [pg_dump, "--schema-only", "--no-owner", "--no-privileges", "--schema=app", "--dbname", database.name],
        env={
            "PGHOST": login["host"],
            "PGPORT": str(login["port"]),
            "PGUSER": login["user"],
            "PGPASSWORD": login["password"],
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    # The tokens of \restrict are random.
    return "\n".join(line for line in printed.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def _pg_dump(binaries: Binaries) -> str | None:
    """Return a pg_dump that is not older than the server, as pg_dump requires."""
    found = shutil.which("pg_dump", path=f"{binaries.folder}:{os.environ['PATH']}")
    if found is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"\(PostgreSQL\) (\d+)", version)
    return found if match and int(match[1]) >= binaries.major else None
