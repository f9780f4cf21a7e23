"""The wait of a definition for previews that rehearse: a rehearsal reads the target's schema under weak locks.

A session alters one table of 200 again and again, and measures each statement in the server, while previews run one
after the other. The benchmark needs a PostgreSQL server (PG* variables, or the development server) and its pg_dump.
"""

from __future__ import annotations

import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from benchmarks.measure import Claim, report
from benchmarks.scripts import FIRST, SECOND, write_scripts
from benchmarks.server import empty_database, url
from pulumi_alembic.migrate import migrator
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings

_LONGEST = 0.05  # seconds
_SECONDS = 10
_TABLES = "\n".join(f"CREATE TABLE table_{number} (id int PRIMARY KEY, name text);" for number in range(200))

# The loop runs in the server, so that a busy client does not count as a wait. Each turn commits and releases its lock.
_ALTERS = """
DO $$
DECLARE
    begun timestamptz;
    longest interval := '0';
    ends timestamptz := clock_timestamp() + interval '{seconds} s';
BEGIN
    WHILE clock_timestamp() < ends LOOP
        begun := clock_timestamp();
        -- Under ACCESS EXCLUSIVE, and as often as one likes.
        ALTER TABLE table_7 ALTER COLUMN name SET DEFAULT 'x';
        longest := greatest(longest, clock_timestamp() - begun);
        COMMIT;
        PERFORM pg_sleep({pause});
    END LOOP;
    PERFORM set_config('benchmark.longest', extract(epoch FROM longest)::text, false);
END $$
"""


@contextmanager
def _migrator(database: str) -> Iterator[str]:
    """Create a login that owns the migrations and has no other rights, which a rehearsal requires. Yield its URL."""
    address, name, password = url(database).replace("+psycopg", ""), database, secrets.token_hex(12)
    with psycopg.connect(address, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'".encode())
        admin.execute(f"GRANT {name} TO CURRENT_USER; GRANT CREATE ON DATABASE {database} TO {name}".encode())
        admin.execute(f"ALTER SCHEMA migrations OWNER TO {name}; CREATE SCHEMA {name} AUTHORIZATION {name}".encode())
        try:
            yield urlunsplit(
                urlsplit(address)._replace(netloc=f"{name}:{password}@{urlsplit(address).netloc.rpartition('@')[2]}")
            )
        finally:
            admin.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}".encode())


def _longest(address: str, pause: float) -> float:
    """Return the longest duration of the session's statement."""
    with psycopg.connect(address, autocommit=True) as session:
        session.execute(_ALTERS.format(seconds=_SECONDS, pause=pause).encode())
        [(longest,)] = session.execute("SELECT current_setting('benchmark.longest')::float").fetchall()
    return float(longest)


def _claims(address: str, admin: str, folder: Path) -> Iterator[Claim]:
    migrator.migrate(Job(address, folder, FIRST, "python -m benchmarks.rehearsals"))
    for what, pause in (("again and again", 0.0), ("ten times a second", 0.1)):
        alone = _longest(address, pause)
        how: Counter[str] = Counter()
        with ThreadPoolExecutor() as threads:
            altering = threads.submit(_longest, address, pause)
            while not altering.done():
                _, review = review_from_database(Job(address, folder, SECOND), Settings(), admin=admin)
                how[review.not_rehearsed or "rehearsed"] += 1
            longest = altering.result()
        print(f"altered {what}: without previews the longest took {alone:.3f} s; beside it, previews: {dict(how)}")
        yield Claim(f"altered {what}: longest wait beside previews ÷ 50 ms", longest, _LONGEST, longest / _LONGEST, 1.0)


def main() -> None:
    """Measure and print every claim. Exit with 1 if one does not hold."""
    with tempfile.TemporaryDirectory() as name, empty_database() as database, _migrator(database) as address:
        write_scripts(Path(name), _TABLES, "ALTER TABLE table_1 ADD x int")
        admin = url(database).replace("+psycopg", "")
        sys.exit(0 if report(list(_claims(address, admin, Path(name)))) else 1)


if __name__ == "__main__":
    main()
