"""Random bodies of revision scripts: statements that succeed, fail, are caught, are nested, and change settings."""

import random
from collections.abc import Callable
from textwrap import indent

SCHEMA = """
CREATE TABLE t0 (id int PRIMARY KEY, name text, n int);
CREATE TABLE t1 (id int PRIMARY KEY, name text, n int);
CREATE TABLE t2 (id int PRIMARY KEY, name text, n int);
CREATE TABLE child (id int PRIMARY KEY, t1 int REFERENCES t1 DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE parts (id int, at int) PARTITION BY RANGE (at);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE notes (id serial PRIMARY KEY, note text);
CREATE VIEW v0 AS SELECT id, name FROM t0;
CREATE MATERIALIZED VIEW m1 AS SELECT id, n FROM t1 WITH NO DATA;
CREATE UNIQUE INDEX m1_id ON m1 (id);
REFRESH MATERIALIZED VIEW m1;
CREATE TYPE mood AS ENUM ('well', 'ill');
CREATE FUNCTION drop_t2() RETURNS int LANGUAGE plpgsql AS 'BEGIN DROP TABLE IF EXISTS app.t2; RETURN 1; END';
CREATE FUNCTION note(text) RETURNS int LANGUAGE sql AS 'INSERT INTO app.notes (note) VALUES ($1) RETURNING id';
CREATE FUNCTION fail() RETURNS int LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no'' USING ERRCODE = ''ZZ001''; END';
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO notes (note) VALUES (TG_OP || NEW.id); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER noted AFTER INSERT ON t1 DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION noted();
INSERT INTO t1 VALUES (1, 'one', 10), (2, 'two', NULL);
INSERT INTO child VALUES (1, 1);
CREATE SCHEMA other;
CREATE TABLE other.t0 (id int);
"""

_TABLES = ("t0", "t1", "t2", "t3", "parts", "child")
_SETTINGS = (
    "SET DateStyle = 'SQL, DMY'",
    "SET LOCAL DateStyle = 'German'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SET IntervalStyle = 'iso_8601'",
    "SET search_path = other, app",
    "SET LOCAL search_path = other",
    "SELECT set_config('search_path', '', false)",
    "SELECT set_config('search_path', 'app, other', true)",
    "SET extra_float_digits = -3",
    "SET statement_timeout = '20s'",
    "SET row_security = off",
    "SET check_function_bodies = off",
    "SET bytea_output = 'escape'",
    "SET default_transaction_isolation = 'repeatable read'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET my.setting = 'here'",
    "SET plan_cache_mode = force_generic_plan",
    "SET session_authorization = DEFAULT",
    "RESET ROLE",
    "RESET ALL",
    "SET client_min_messages = error",
    "SET default_with_oids = false",
)
_READS = (
    "SELECT current_setting('DateStyle'), current_setting('TimeZone'), current_setting('search_path')",
    "SELECT current_setting('transaction_isolation'), current_setting('statement_timeout')",
    "SELECT nullif(current_setting('my.setting', true), ''), current_user = session_user, '1.5'::float8 / 7",
    "SELECT to_regclass('temporary')::text, to_regclass('t0')::text, date '2024-04-03'::text",
    "SELECT count(*) FROM pg_prepared_statements WHERE from_sql",
    "SELECT count(*) FROM pg_cursors WHERE is_holdable",
    "SELECT count(*) FROM pg_listening_channels()",
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND objid = 77",
    "SELECT currval('app.notes_id_seq')",
    "SELECT count(*) FROM t1",
    "SELECT count(*) FROM temporary",
)
_SUCCEEDS = (
    "CREATE TABLE IF NOT EXISTS t3 (id int PRIMARY KEY, at date DEFAULT '03/04/2024')",
    "CREATE TABLE t{n} (id serial PRIMARY KEY, at date DEFAULT '03/04/2024', size float8 DEFAULT 0.1)",
    "ALTER TABLE t0 ADD COLUMN c{n} int",
    "ALTER TABLE t1 ADD COLUMN c{n} text DEFAULT 'x'",
    "INSERT INTO t1 VALUES ({n}, 'new', 1)",
    "INSERT INTO t0 VALUES ({n}, 'new', 1)",
    "INSERT INTO notes (note) VALUES ('50 %'), (now()::text = '')",
    "INSERT INTO notes (note) SELECT date '2024-04-03'::text",
    "UPDATE t1 SET n = id, name = '03/04/2024'::date::text",
    "COMMENT ON TABLE t1 IS '100 % of {n}'",
    "CREATE INDEX i{n} ON t1 (name)",
    "CREATE VIEW v{n} AS SELECT * FROM t1",
    "GRANT SELECT ON t1 TO PUBLIC",
    "SELECT note('hello'), nextval('notes_id_seq')",
    "CREATE TEMPORARY TABLE temporary AS SELECT {n} AS id",
    "CREATE TEMPORARY TABLE temporary (id int) ON COMMIT DROP",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM t1",
    "FETCH c",
    "LISTEN channel",
    "SELECT pg_advisory_lock(77)",
    "SELECT pg_advisory_xact_lock(78)",
    "CREATE FUNCTION f{n}() RETURNS int LANGUAGE sql AS 'SELECT id FROM t0'",
    "ALTER TABLE t1 ALTER COLUMN n SET DEFAULT {n}",
    "CREATE TYPE kind{n} AS ENUM ('a')",
    "ALTER TABLE child ADD CONSTRAINT k{n} CHECK (id > 0)",
    "CREATE TABLE parts_{n} PARTITION OF parts FOR VALUES FROM ({n}0) TO ({n}9)",
    "LOCK TABLE t1 IN SHARE MODE",
)
_DROPS = (
    "DROP TABLE {t}",
    "DROP TABLE IF EXISTS {t}",
    "DROP TABLE {t} CASCADE",
    "DROP TABLE IF EXISTS t0, {t} CASCADE",
    "ALTER TABLE {t} DROP COLUMN name",
    "ALTER TABLE {t} DROP COLUMN IF EXISTS n CASCADE",
    "ALTER TABLE {t} DROP COLUMN id",
    "DROP VIEW v0",
    "DROP VIEW IF EXISTS nothing",
    "DROP MATERIALIZED VIEW m1",
    "DROP TYPE mood",
    "DROP INDEX m1_id",
    "DROP FUNCTION note(text)",
    "TRUNCATE {t}",
    "TRUNCATE {t} CASCADE",
    "DELETE FROM {t}",
    "DELETE FROM {t} WHERE id = 2",
    "SELECT drop_t2()",
    "DO $$ BEGIN EXECUTE 'DROP TABLE IF EXISTS ' || '{t} CASCADE'; END $$",
    "DO $$ BEGIN DROP TABLE {t}; EXCEPTION WHEN OTHERS THEN NULL; END $$",
    "DO $$ BEGIN DROP TABLE IF EXISTS app.t2; PERFORM fail(); END $$",
    "SELECT drop_t2(); SELECT fail()",
    "DROP TABLE IF EXISTS t2; CREATE TABLE t2 (id int PRIMARY KEY, name text, n int)",
    "DROP SCHEMA other CASCADE",
    "DROP SCHEMA other",
    "ALTER TABLE {t} RENAME TO renamed",
    "ALTER TABLE t1 RENAME COLUMN name TO title",
)
_FAILS = (
    "ALTER TABLE t1 ADD CONSTRAINT nope CHECK (missing > 0)",
    "SELECT 1 / (id - id) FROM t1",
    "SELECT fail()",
    "DO $$ BEGIN PERFORM fail(); END $$",
    "INSERT INTO t1 VALUES (1, 'again', 1)",
    "INSERT INTO child VALUES ({n}, 99)",
    "SELECT * FROM nowhere",
    "SELEC 1",
    "CREATE TABLE t1 (id int)",
    "ALTER TABLE t1 ALTER COLUMN n SET NOT NULL",
    "SELECT 'x'::int",
    "RELEASE SAVEPOINT nothing",
    "ROLLBACK TO SAVEPOINT nothing",
    "DROP TABLE nowhere",
    "DROP TABLE t1, nowhere",
)
_BLOCKS = (
    "CREATE INDEX CONCURRENTLY b{n} ON t1 (n)",
    "CREATE UNIQUE INDEX CONCURRENTLY u{n} ON t1 (name)",
    "ALTER TYPE mood ADD VALUE 'mood {n}'",
    "VACUUM t1",
    "ANALYZE t1",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY m1",
)
_PYTHON = (
    "op.drop_column({t!r}, 'name')",
    "op.drop_table({t!r})",
    "op.add_column({t!r}, sa.Column('p{n}', sa.Date, server_default='03/04/2024'))",
    "op.rename_table({t!r}, 'renamed')",
    "op.create_index('x{n}', {t!r}, ['name'])",
    "op.alter_column('t1', 'n', nullable=True, new_column_name='m')",
    "op.bulk_insert(sa.table('t1', sa.column('id'), sa.column('n')), [{{'id': {n}, 'n': 5}}, {{'id': {n}0, 'n': 6}}])",
    "op.get_bind().execute(sa.text('INSERT INTO t1 VALUES (:id, :name)'), {{'id': {n}, 'name': ':x'}})",
    "op.get_bind().execute(sa.text('INSERT INTO t1 (id) VALUES (:id)'), [{{'id': {n}}}, {{'id': {n}1}}])",
    "op.get_bind().execute(sa.text('DELETE FROM t1 WHERE id = :id'), {{'id': 2}})",
    "op.get_bind().exec_driver_sql('INSERT INTO notes (note) VALUES (%s)', ('50 %',))",
    "op.get_bind().exec_driver_sql(\"SELECT '%'\")",
    "op.get_bind().exec_driver_sql('SELECT %\"', (1,))",
    "op.get_bind().connection.cursor().execute('INSERT INTO notes (note) VALUES (%s)', ['raw'])",
    "op.get_bind().connection.cursor().execute('DROP TABLE {t}')",
    "op.get_bind().connection.cursor().execute('SELECT nothing FROM t1')",
    "op.get_bind().connection.cursor().executemany('INSERT INTO t1 (id) VALUES (%s)', [({n},), ({n}2,)])",
    "op.get_bind().connection.cursor().execute('DROP TABLE t2; SELECT fail()')",
    "with op.get_bind().connection.cursor().copy('COPY t0 (id) FROM STDIN') as copy: copy.write_row([{n}])",
    "[op.get_bind().exec_driver_sql('SELECT * FROM t1') for _ in range(7)]; op.execute('ALTER TABLE t1 ADD q{n} int')",
    "[op.get_bind().exec_driver_sql('SELECT * FROM t1').fetchall() for _ in range(3)]",
    "op.get_bind().connection.driver_connection.row_factory = psycopg.rows.dict_row",
    "op.get_bind().execution_options(schema_translate_map={{'app': 'other'}})",
    "op.get_bind().execute(sa.text('SELECT 1')).fetchall(); raise ValueError('no')",
    "raise KeyError('nothing')",
    "session = orm.Session(op.get_bind()); session.add(Thing(id={n}, name='orm')); session.flush()",
    "session = orm.Session(op.get_bind()); session.query(Thing).delete(); session.flush()",
    "session = orm.Session(op.get_bind()); session.add(Thing(id=1)); session.commit()",
    "steps.value({n}, sorted(sa.inspect(op.get_bind()).get_table_names(schema='app')))",
    "with op.batch_alter_table('t1', recreate='always') as batch: batch.add_column(sa.Column('b{n}', sa.Integer))",
    "op.get_bind().commit()",
)
HEAD = '''"""drawn"""
import psycopg
import sqlalchemy as sa
from alembic import op
from sqlalchemy import orm
from tests.postgres.alembic import steps

revision = {id!r}
down_revision = {down!r}


class Thing(orm.declarative_base()):
    __tablename__ = "t1"
    __table_args__ = {{"schema": "app"}}
    id = sa.Column(sa.Integer, primary_key=True)
    name = sa.Column(sa.Text)


'''


class Draw:
    """The scripts of one draw, for the random numbers of `seed`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.number = 0
        self.careless = self.random.random()
        self.features: set[str] = set()

    def scripts(self, ids: list[str]) -> dict[str, str]:
        """Return the text of each revision's script."""
        return {
            id: HEAD.format(id=id, down=down) + self._function("upgrade") + "\n\n" + self._function("downgrade")
            for id, down in zip(ids, [None, *ids], strict=False)
        }

    def _function(self, name: str) -> str:
        blocks = [self._block() for _ in range(self.random.choice((0, 0, 0, 0, 1, 2)))]
        body = [*blocks, *(self._step(0) for _ in range(self.random.randint(1, 6)))]
        return f"def {name}():\n" + indent("\n".join(body), "    ") + "\n"

    def _block(self) -> str:
        self.features.add("block")
        code = f"op.execute({self._filled(self.random.choice(_BLOCKS))!r})"
        return f"with {self._logged(0.1)}, op.get_context().autocommit_block():\n    {code}"

    def _step(self, depth: int) -> str:
        kinds: list[tuple[Callable[[int], str], float]] = [
            (self._plain("succeeds", _SUCCEEDS), 8),
            (self._plain("drops", _DROPS), 6),
            (self._plain("sets", _SETTINGS), 3),
            (self._plain("fails", _FAILS), 1.5),
            (self._read, 4),
            (self._python, 4),
            (self._nested, 3 if depth < 2 else 0),
            (self._savepoint, 1.5 if depth < 2 else 0),
        ]
        make = self.random.choices([make for make, _ in kinds], [weight for _, weight in kinds])[0]
        return make(depth)

    def _plain(self, feature: str, texts: tuple[str, ...]) -> Callable[[int], str]:
        def make(_: int) -> str:
            self.features.add(feature)
            code = f"op.execute({self._filled(self.random.choice(texts))!r})"
            return f"with {self._logged(0.8 if feature == 'fails' else 0.4)}:\n    {code}"

        return make

    def _read(self, _: int) -> str:
        sql, logged = self.random.choice(_READS), self._logged(0.5)
        return f"with {logged}:\n    steps.value({self.number}, op.get_bind().execute(sa.text({sql!r})).fetchall())"

    def _python(self, _: int) -> str:
        self.features.add("python")
        code = self._filled(self.random.choice(_PYTHON))
        return f"with {self._logged(0.6)}:\n    {code}"

    def _nested(self, depth: int) -> str:
        self.features.add("nested")
        inner = "\n".join(self._step(depth + 1) for _ in range(self.random.randint(1, 3)))
        return f"with {self._logged(0.7)}, op.get_bind().begin_nested():\n" + indent(inner, "    ")

    def _savepoint(self, depth: int) -> str:
        self.features.add("savepoint")
        inner = "\n".join(self._step(depth + 1) for _ in range(self.random.randint(1, 2)))
        end = self.random.choice(("ROLLBACK TO SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO a; RELEASE a"))
        begin = f"with {self._logged(0.3)}:\n    op.execute('SAVEPOINT a')"
        return f"{begin}\n{inner}\nwith {self._logged(0.5)}:\n    op.execute({end!r})"

    def _logged(self, careless: float) -> str:
        self.number += 1
        return f"steps.{'caught' if self.random.random() < careless else 'step'}({self.number})"

    def _filled(self, text: str) -> str:
        return text.format(n=self.number + 10, t=self.random.choice(_TABLES))
