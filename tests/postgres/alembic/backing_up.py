"""A database with objects of every kind, and updates that back it up, for the tests of backups and restores."""

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.backups.taking import Maker
from pulumi_alembic.database import pg_programs
from pulumi_alembic.errors import BackupError
from tests.postgres.alembic.conftest import Target
from tests.postgres.alembic.hearing import Hears
from tests.postgres.alembic.owner import connect

ONE, TWO, THREE = "20250101_001", "20250102_002", "20250103_003"

EVERYTHING = """
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE FUNCTION twice(int) RETURNS int IMMUTABLE LANGUAGE sql AS 'SELECT $1 * 2';
CREATE TABLE parents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE);
CREATE TABLE children (
    id serial PRIMARY KEY, parent bigint REFERENCES parents ON DELETE CASCADE, feels mood DEFAULT 'glad',
    tags text[], document jsonb, size positive, double int GENERATED ALWAYS AS (size * 2) STORED, bytes bytea
);
-- PostgreSQL prints these in other words once it has read its own.
CREATE TABLE worded (
    status varchar(9) DEFAULT 'a' || 'b' CHECK (status IN ('open', 'done')), note text CHECK (note NOT LIKE 'x%'),
    at timestamptz DEFAULT now() - interval '1 day', n numeric(5,2) CHECK (n BETWEEN 0 AND 9)
);
CREATE INDEX worded_open ON worded (lower(note)) WHERE status IN ('open', 'done');
CREATE VIEW open_ones AS SELECT * FROM worded WHERE status IN ('open') OR status = ANY (ARRAY['x', 'y']);
COMMENT ON COLUMN worded.status IS 'as PostgreSQL reads it';
CREATE INDEX children_tags ON children USING gin (tags);
CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE VIEW glad AS SELECT id, feels FROM children WHERE feels = 'glad';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM children;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
NEW.name := NEW.name;
RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE UPDATE ON parents FOR EACH ROW EXECUTE FUNCTION touch();
INSERT INTO parents (name) SELECT E'p\\t\\\\.\\n' || g FROM generate_series(1, 50) g;
INSERT INTO children (parent, tags, document, size, bytes)
    SELECT g % 50 + 1, ARRAY['a', NULL, '"'], jsonb_build_object('g', g), g, convert_to(repeat('x', g), 'UTF8')
    FROM generate_series(1, 2000) g;
INSERT INTO events SELECT '2025-01-01'::date + g, E'%\\r\\n' FROM generate_series(1, 300) g;
REFRESH MATERIALIZED VIEW counted;
"""
DIGESTED = ("parents", "children", "events", "glad", "counted")


MAY_LOSE: dict[str, Any] = {"allow_data_loss": frozenset([THREE])}


class Backing:
    """A database at ONE that contains EVERYTHING. `up` is an update that backs it up first, if `when` requires that."""

    def __init__(self, target: Target, folder: Path) -> None:
        self.target = target
        self.folder = folder
        self.said: list[str] = []

    def up(self, revision: str, when: When = When.ALWAYS, **options: Any) -> str:
        """Bring the database to `revision`.

        Return the id of the backup that the update made, or an empty text without one.
        """
        before = self.ids()
        listener = Hears(on_status=self.said.append, on_info=self.said.append)
        maker = Maker(BackupSetting(when, self.folder), self.target.job(revision), listener)
        self.target.migrate(revision, back_up=maker.back_up, **MAY_LOSE, **options)
        [made] = [*(self.ids() - before), *([] if self.ids() - before else [""])]
        return made

    def ids(self) -> set[str]:
        """Return the backups in the folder, complete or not."""
        return {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()

    def execute(self, statement: str) -> None:
        """Run a statement as the owner."""
        with connect(self.target.url) as connection:
            connection.execute(statement.encode())
            connection.commit()

    def rows(self) -> dict[str, str]:
        """Return a digest of all rows of each table."""
        return {
            name: hashlib.md5(repr(self.target.query(f"SELECT t::text FROM {name} t ORDER BY 1")).encode()).hexdigest()
            for name in DIGESTED
        }


def require_clients(target: Target) -> pg_programs.Programs:
    """Return pg_dump and pg_restore for the server under test. Skip the test if this machine has none."""
    [(version,)] = target.query("SELECT current_setting('server_version_num')::int / 10000")
    try:
        return pg_programs.find(int(str(version)))
    except BackupError:
        pytest.skip("no pg_dump for this version of PostgreSQL")


def catalog(target: Target) -> list[tuple[object, ...]]:
    """Return everything in the two schemas: columns, constraints, indexes, functions, triggers, and rights."""
    return target.query(
        r"""
        SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text,
            attidentity::text || attgenerated::text, pg_get_expr(adbin, adrelid)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE attnum > 0 AND NOT attisdropped AND relnamespace IN ('app'::regnamespace, 'migrations'::regnamespace)
        UNION ALL SELECT 'relation', oid::regclass::text, relkind::text, relowner::regrole::text,
            (SELECT string_agg(acl::text, ',' ORDER BY acl::text) FROM unnest(relacl) acl), NULL, NULL
        FROM pg_class WHERE relnamespace IN ('app'::regnamespace, 'migrations'::regnamespace)
        UNION ALL SELECT 'constraint', conrelid::regclass::text, conname,
            -- PostgreSQL prints them otherwise once it has read its own words.
            regexp_replace(pg_get_constraintdef(oid), '::(character varying|text)(\[\])?|[() ]', '', 'g'),
            NULL, NULL, NULL
        FROM pg_constraint WHERE connamespace IN ('app'::regnamespace, 'migrations'::regnamespace)
        UNION ALL SELECT 'function', p.oid::regprocedure::text, prosrc, proowner::regrole::text,
            (SELECT string_agg(acl::text, ',' ORDER BY acl::text) FROM unnest(proacl) acl), NULL, NULL
        FROM pg_proc p WHERE pronamespace IN ('app'::regnamespace, 'migrations'::regnamespace)
        UNION ALL SELECT 'trigger', tgrelid::regclass::text, tgname, tgenabled::text, NULL, NULL, NULL
        FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT 'default', defaclobjtype::text, (SELECT string_agg(acl::text, ',' ORDER BY acl::text)
            FROM unnest(defaclacl) acl), NULL, NULL, NULL, NULL FROM pg_default_acl
        UNION ALL SELECT 'sequence', sequencename, last_value::text, NULL, NULL, NULL, NULL
        FROM pg_sequences WHERE schemaname = 'app'
        ORDER BY 1, 2, 3, 4
        """
    )
