"""No session of ours runs an object of a less privileged role: all SQL that we send is collected, and trapped."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from pulumi_alembic.database import sessions
from pulumi_alembic.database.connection import OWN_OPTIONS, Session, connect, log_in, open_session
from pulumi_alembic.database.pg_programs import environment, find_client
from pulumi_alembic.drift.reader import read
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.build import review_from_database
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.sql.parser import ParseError, nodes, parse
from taskdb.existing import existing
from taskdb.local import Server
from taskdb.settings.admin import Admin
from tests.conftest import Database
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.owner import connect as as_owner

ONE, TWO = "20250101_001", "20250102_002"


@dataclass
class Sent:
    """The traffic of every opened connection: its user, its options, and its statements."""

    sessions: list[tuple[str, str, list[str]]] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [text for _, _, texts in self.sessions for text in texts]


_MESSAGE = re.compile(r"^F\t\d+\t(?:Query|Parse)\t (.*?)(?=^[FB]\t\d+\t)", re.MULTILINE | re.DOTALL)


@contextmanager
def collected() -> Iterator[Sent]:
    """Collect all that psycopg sends within the block, by libpq's own trace, which includes SQL past its cursors."""
    sent, open_ = Sent(), []

    def connect(dial: Callable[..., Any], *args: Any, **kw: Any) -> psycopg.Connection:
        connection: psycopg.Connection = dial(*args, **kw)
        file = tempfile.NamedTemporaryFile("w+")  # noqa: SIM115 - it is read at the end
        connection.pgconn.trace(file.fileno())
        connection.pgconn.set_trace_flags(psycopg.pq.Trace.SUPPRESS_TIMESTAMPS)
        open_.append((connection.info.user, str(kw.get("options") or ""), file))
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg, "connect", partial(connect, psycopg.connect))
        patch.setattr(Session, "connect", partial(connect, Session.connect))
        yield sent
    for user, options, file in open_:
        trace = Path(file.name).read_text(errors="replace") + "F\t0\tEnd\t"
        texts = [
            re.sub(r'^"[^"]*" (?=")', "", text).strip(" 0123456789\n").strip('"') for text in _MESSAGE.findall(trace)
        ]
        sent.sessions.append((user, options, texts))
        file.close()


@pytest.fixture
def admin(server: Server) -> str:
    with Database(server, "postgres").connect() as connection:
        if find_client(connection.info.server_version // 10000) is None:
            pytest.skip("no pg_dump for this server")
    return f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"


@pytest.fixture
def two(empty_target: Target) -> Target:
    empty_target.write(
        ONE,
        None,
        "op.execute('CREATE TABLE t (id int PRIMARY KEY, name text)')\n"
        "    op.execute('CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM t WITH NO DATA')",
        "op.execute('DROP MATERIALIZED VIEW counted; DROP TABLE t')",
    )
    empty_target.write(TWO, ONE, "op.execute('ALTER TABLE t ADD z int')", "op.execute('ALTER TABLE t DROP z')")
    empty_target.migrate(ONE)
    return empty_target


def work(target: Target, admin: str) -> None:
    """Run a preview, an adoption's look, drift, an update and its downgrade, each in its own sessions."""
    parts = psycopg.conninfo.conninfo_to_dict(admin)
    login = Admin(str(parts["host"]), int(str(parts["port"])), str(parts["user"]), str(parts["password"]), "disable")
    existing(login, target.url.rpartition("/")[2])
    _, review = review_from_database(Job(target.url, target.directory, TWO), Settings(), admin=admin)
    assert review.not_rehearsed == ""
    with connect(target.url) as connection:
        read(connection)
    target.migrate(TWO)
    target.migrate(ONE)


def test_every_session_has_our_search_path_but_those_that_revisions_run_in(
    two: Target, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine, slow statements would make a session look for the session that it waits for.
    monkeypatch.setattr(sessions, "_AFTER", 60.0)
    with collected() as sent:
        work(two, admin)
    bare = [each for each in sent.sessions if OWN_OPTIONS not in each[1]]
    assert len(sent.sessions) > 10
    assert all(user.endswith("_migrator") for user, _, _ in bare)
    # The login's search_path applies to the first look at it, and to the sessions in which a revision runs.
    runs = [
        texts for _, _, texts in bare if any(text == "SHOW search_path" or "ALTER TABLE t" in text for text in texts)
    ]
    assert len(runs) == len(bare)
    for _, options, texts in sent.sessions:
        if OWN_OPTIONS in options:
            assert not any(re.match(r"(?i)SET\s+(SESSION\s+)?search_path", text) for text in texts[:1])


def test_the_option_wins_over_every_setting_of_the_login(two: Target, database: Database) -> None:
    user = two.url.split("//")[1].partition(":")[0]
    evil = sql.SQL("ALTER ROLE {} SET search_path = app, pg_catalog").format(sql.Identifier(user))
    with database.connect() as connection:
        connection.execute(evil)
    with connect(two.url) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog,pg_temp",)
    with connect(f"{two.url}?options=-c%20search_path%3Dapp%20-c%20work_mem%3D7MB") as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog,pg_temp",)
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
    session = open_session(two.url)
    assert session.execute("SHOW search_path").fetchone() == ("app, pg_catalog",)
    session.close()


def test_the_programs_of_postgresql_have_it_too() -> None:
    assert environment("postgresql://a@b/c")["PGOPTIONS"] == OWN_OPTIONS
    options = environment("postgresql://a@b/c?options=-c%20work_mem%3D7MB")["PGOPTIONS"]
    assert options == f"-c work_mem=7MB {OWN_OPTIONS}"


def test_a_pooler_that_drops_the_option_gets_a_statement(two: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    dial = Session.connect
    monkeypatch.setattr(Session, "connect", lambda *args, **kw: dial(*args, **{**kw, "options": None}))
    with log_in(two.url) as connection:
        assert connection.execute("SHOW search_path").fetchone() == ("pg_catalog, pg_temp",)


TYPES = ("name", "text", "varchar", '"char"', "oid", "integer", "anyelement", "text[]")
_BODY = "BEGIN INSERT INTO public.caught VALUES (session_user, current_user, {name}); RETURN NULL; END"


def names(texts: list[str]) -> tuple[dict[str, set[int]], set[str]]:
    """Return the functions that the statements call without a schema, with their argument counts, and the operators."""
    functions: dict[str, set[int]] = {}
    operators: set[str] = set()
    for text in texts:
        try:
            statements = parse(text)
        except ParseError:
            continue
        for node in nodes(statements, "FuncCall"):
            if len(node.funcname) == 1:
                functions.setdefault(node.funcname[0].sval, set()).add(len(node.args or ()))
        operators |= {node.name[-1].sval for node in nodes(statements, "A_Expr")}
    return functions, operators


def traps(texts: list[str]) -> Iterator[str]:
    """Return a function and an operator for each of these names, for every pair of types in the catalog."""
    functions, operators = names(texts)
    for name, counts in functions.items():
        for count in counts:
            kinds = product(TYPES, repeat=count) if count < 3 else ([kind] * count for kind in TYPES)
            for arguments in kinds:
                body = _BODY.format(name=f"'{name}'").replace("'", "''")
                yield (
                    f'CREATE FUNCTION public."{name}"({", ".join(arguments)}) RETURNS text LANGUAGE plpgsql '
                    f"SECURITY INVOKER AS '{body}'"
                )
    for number, operator in enumerate(sorted(operators)):
        for at, (left, right) in enumerate(product(TYPES, repeat=2)):
            body = _BODY.format(name=f"'operator {operator}'").replace("'", "''").replace("NULL", "false")
            called = f"public.trap_{number}_{at}"
            yield f"CREATE FUNCTION {called}({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS '{body}'"
            yield f"CREATE OPERATOR public.{operator} (FUNCTION = {called}, LEFTARG = {left}, RIGHTARG = {right})"


@contextmanager
def trapped(server: Server, name: str, texts: list[str]) -> Iterator[list[Any]]:
    """Set every trap in this database, by a login that can create in the schema public.

    Yield the calls of the traps.
    """
    found: list[Any] = []
    with Database(server, name).connect() as admin:
        admin.execute(sql.SQL("GRANT ALL ON SCHEMA public TO app_x"))
        [(traps_it,)] = admin.execute("SELECT has_schema_privilege('app_x', 'public', 'CREATE')").fetchall()
        admin.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO app_x").format(sql.Identifier(name)))
    if not traps_it:
        # From 15 on only a superuser can grant rights on the schema public of the maintenance database.
        yield found
        return
    with Database(server, name).connect(user="app_x", password="x") as app:
        app.execute("CREATE TABLE public.caught (session name, role name, what text)")
        app.execute("GRANT INSERT ON public.caught TO PUBLIC")
        made = 0
        for trap in traps(texts):
            with suppress(psycopg.Error):
                # Some combinations of types allow no function, and some operators have one operand.
                app.execute(trap.encode())
                made += 1
        assert made > 1000
    yield found
    with Database(server, name).connect(user="app_x", password="x") as app:
        found += app.execute("SELECT DISTINCT session, role, what FROM public.caught").fetchall()


@pytest.mark.few(1)
@pytest.mark.parametrize("place", ["the maintenance database", "the target"])
def test_no_name_that_we_send_finds_what_the_application_made(
    make_cluster: Callable[..., Any], two: Target, admin: str, place: str
) -> None:
    """The test has its own server, because it sets traps in the maintenance database too."""
    with collected() as sent:
        work(two, admin)
    server = make_cluster().server
    with Database(server, "postgres").connect() as connection:
        connection.execute("CREATE ROLE app_x LOGIN PASSWORD 'x'")
        connection.execute("CREATE DATABASE trapped TEMPLATE template0")
    target = prepare(Database(server, "trapped"), two.directory)
    target.migrate(ONE)
    url = f"postgresql://{server.username}:{server.password}@{server.host}:{server.port}/postgres"
    with trapped(server, "postgres" if "maintenance" in place else "trapped", sent.texts) as caught:
        if "maintenance" in place:
            work(target, url)
        else:
            with pytest.raises(AssertionError, match="belongs to app_x"):
                work(target, url)
            with connect(target.url) as session:
                read(session)
            target.migrate(TWO)
            target.migrate(ONE)
    assert caught == []


HOSTILE = """
CREATE FUNCTION app.seize(text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF session_user::text = '{admin}' THEN
        PERFORM set_config('role', 'none', false);
        EXECUTE 'ALTER ROLE {migrator} CONNECTION LIMIT 77';
    END IF;
    RETURN true;
END $$;
CREATE DOMAIN app.trap AS text CHECK (app.seize(VALUE));
CREATE FUNCTION app.add(app.trap, text) RETURNS app.trap LANGUAGE sql AS 'SELECT $1';
CREATE AGGREGATE app.sprung(text) (SFUNC = app.add, STYPE = app.trap, INITCOND = 'x');
CREATE TABLE app.late (x text DEFAULT 'x'::app.trap, CHECK (app.seize(x)));
CREATE MATERIALIZED VIEW app.seen AS SELECT app.seize('x') AS x WITH NO DATA;
CREATE FUNCTION app.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM app.seize(''x''); RETURN NEW; END';
CREATE TRIGGER fires BEFORE INSERT ON migrations.alembic_version FOR EACH ROW EXECUTE FUNCTION app.fires();
CREATE INDEX late_seize ON app.late ((length(x)));
COMMENT ON TABLE app.late IS E'a\\n\\\\! touch {file}\\nSET SESSION AUTHORIZATION DEFAULT;\\n';
CREATE TABLE app."a\n\\! touch {file}\n" ();
"""


def test_what_the_owner_defines_runs_in_no_session_of_the_admins(
    two: Target, admin: str, server: Server, tmp_path: Path
) -> None:
    """A rehearsal replays a domain, an aggregate, a default, a materialized view and a trigger."""
    migrator = two.url.split("//")[1].partition(":")[0]
    file = tmp_path / "touched"
    limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{migrator}'"
    with as_owner(two.url) as session:
        session.execute(HOSTILE.format(admin=server.username, migrator=migrator, file=file).encode())
        session.commit()
    _, review = review_from_database(Job(two.url, two.directory, TWO), Settings(), admin=admin)
    assert review.not_rehearsed == ""
    assert [each.rehearsed and each.rehearsed.fails for each in review.revisions] == [""]
    assert two.query(limit) == [(-1,)]
    assert not file.exists()


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ("CREATE TABLE public.foreign_to_us ()", "table public.foreign_to_us belongs to"),
        ("CREATE DOMAIN public.foreign_to_us AS text", "type public.foreign_to_us belongs to"),
        ("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "function public.f() belongs to"),
    ],
)
def test_what_another_role_owns_is_named_and_not_rehearsed(
    made: str, reason: str, two: Target, admin: str, database: Database
) -> None:
    with database.connect() as connection:
        if connection.info.server_version < 150000:
            pytest.skip("the admin does not own the schema public")
        connection.execute(made.encode())
    _, review = review_from_database(Job(two.url, two.directory, TWO), Settings(), admin=admin)
    assert review.not_rehearsed.startswith(reason)
    assert not review.rehearsed


def test_schemas_rights_and_extensions_are_those_of_the_target(two: Target, admin: str, database: Database) -> None:
    """An extension is in a schema of the admin's that the owner can use. A revision finds it in the rehearsal."""
    owner = sql.Identifier(f"{database.name}_owner")
    with database.connect() as connection:
        connection.execute("CREATE SCHEMA extensions; CREATE EXTENSION pgcrypto SCHEMA extensions")
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA extensions TO {}").format(owner))
        if connection.info.server_version >= 150000:
            connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    two.write(
        TWO,
        ONE,
        "op.execute(\"ALTER TABLE t ADD h text DEFAULT extensions.gen_salt('md5')\")",
        "op.execute('ALTER TABLE t DROP h')",
    )
    _, review = review_from_database(Job(two.url, two.directory, TWO), Settings(), admin=admin)
    assert review.not_rehearsed == ""
    assert [each.rehearsed and each.rehearsed.fails for each in review.revisions] == [""]
