"""A database with an object of every kind, created by SQL alone, and changes that an admin makes by hand."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

from pulumi_alembic.database.connection import log_in
from pulumi_alembic.drift.difference.snapshot import Snapshot
from pulumi_alembic.drift.reader import read
from tests.conftest import Database

ROLES = ("owner", "rw", "ro", "app", "migrator", "stranger")

ADMIN = """
CREATE ROLE {owner}; CREATE ROLE {rw}; CREATE ROLE {ro}; CREATE ROLE {stranger};
CREATE ROLE {app} LOGIN IN ROLE {rw} CONNECTION LIMIT 9;
CREATE ROLE {migrator} LOGIN NOINHERIT IN ROLE {owner} VALID UNTIL '2040-01-01 00:00:00+00';
GRANT {owner}, {app} TO CURRENT_USER;
ALTER ROLE {app} SET search_path = app, extensions;
ALTER ROLE {app} SET statement_timeout = '5s';
ALTER ROLE {app} IN DATABASE {database} SET work_mem = '8MB';
ALTER DATABASE {database} SET timezone = 'Europe/Vienna';
REVOKE ALL ON DATABASE {database} FROM PUBLIC;
GRANT CONNECT ON DATABASE {database} TO {rw}, {ro}, {migrator};
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA app AUTHORIZATION {owner};
CREATE SCHEMA other AUTHORIZATION {owner};
CREATE SCHEMA extensions;
CREATE EXTENSION pgcrypto SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO {owner}, {rw};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA app GRANT SELECT, INSERT ON TABLES TO {rw};
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
"""

OWNER = r"""
SET search_path = app;
GRANT USAGE ON SCHEMA app TO {rw}, {ro};
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s fine');
CREATE TYPE pair AS (left_side int, right_side text);
CREATE TYPE span AS RANGE (SUBTYPE = int);
CREATE DOMAIN email AS text DEFAULT 'x@y' NOT NULL CONSTRAINT has_at CHECK (VALUE ~ '@');
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.touched := now();
    RETURN NEW;
END $$;
CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * x';
CREATE PROCEDURE tidy() LANGUAGE sql AS 'SELECT 1';
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mail email,
    name varchar(50) NOT NULL DEFAULT 'nobody',
    feeling mood DEFAULT 'ok',
    touched timestamptz DEFAULT '2020-01-01 00:00:00+00',
    "Odd Name" text COLLATE "C",
    double_id int GENERATED ALWAYS AS (length('x') * 2) STORED
);
ALTER TABLE users ADD CONSTRAINT name_is_short CHECK (length(name) < 40) NOT VALID;
CREATE TABLE tasks (
    id serial PRIMARY KEY,
    user_id bigint REFERENCES users ON DELETE CASCADE,
    title text NOT NULL,
    due date,
    UNIQUE (user_id, title)
) WITH (fillfactor = 80);
CREATE INDEX tasks_due ON tasks (due) WHERE due IS NOT NULL;
CREATE INDEX tasks_title ON tasks (title);
CREATE UNIQUE INDEX users_mail ON users (lower(mail::text));
CREATE TABLE events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE INDEX events_what ON events (what);
CREATE TABLE base_thing (a int);
CREATE TABLE child_thing (b int) INHERITS (base_thing);
CREATE SEQUENCE tickets INCREMENT 5 START 10 MAXVALUE 10000 CYCLE;
CREATE VIEW open_tasks AS SELECT id, title FROM tasks WHERE due IS NULL;
CREATE MATERIALIZED VIEW counts AS SELECT user_id, count(*) AS n FROM tasks GROUP BY user_id;
CREATE INDEX counts_user ON counts (user_id);
CREATE TRIGGER touched BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE keep AS ON DELETE TO base_thing DO INSTEAD NOTHING;
ALTER TABLE tasks ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_tasks ON tasks FOR SELECT TO {rw} USING (user_id = 7);
GRANT SELECT ON users TO {ro};
GRANT UPDATE (name) ON users TO {ro};
GRANT USAGE ON SEQUENCE tickets TO {rw};
GRANT EXECUTE ON FUNCTION twice(int) TO {rw};
COMMENT ON TABLE users IS 'who''s who';
COMMENT ON COLUMN tasks.due IS 'the day';
INSERT INTO users (mail, name) VALUES ('a@b', 'ann');
INSERT INTO tasks (user_id, title) VALUES (1, 'sleep');
"""


@dataclass(frozen=True)
class World:
    """The database. In a statement, `{owner}`, `{rw}` and so on stand for its roles, and `{database}` for its name."""

    database: Database

    @property
    def names(self) -> dict[str, str]:
        """The values of the words in braces. None of them needs quotes."""
        return {**{role: f"{self.database.name}_{role}" for role in ROLES}, "database": self.database.name}

    def text(self, statement: str) -> str:
        """Return the statement with the real names."""
        for word, name in self.names.items():
            statement = statement.replace(f"{{{word}}}", name)
        return statement

    def admin(self, statement: str) -> None:
        """Run statements as the admin, who is no superuser."""
        with self.database.connect() as connection:
            connection.execute(self.text(statement).encode())

    def owner(self, statement: str) -> None:
        """Run statements as the owner of the objects."""
        self.admin(f"SET ROLE {{owner}}; SET search_path = app; {statement}")

    def read(self, *roles: str) -> Snapshot:
        """Read a snapshot as the migrator's session reads it."""
        server = self.database.server
        url = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/{self.database.name}"
        with closing(log_in(url)) as connection:
            return read(connection, roles)


def make(database: Database) -> World:
    """Create everything of ADMIN and OWNER in an empty database."""
    world = World(database)
    world.admin(ADMIN)
    world.owner(OWNER)
    return world
