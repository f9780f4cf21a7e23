"""The SQL that a preview shows does what the revision does.

Otherwise the preview says that the revision runs Python.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from shutil import which
from textwrap import dedent, indent
from urllib.parse import urlsplit

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from pulumi_alembic.database.literals import literal
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.review.rendering import Rendered, render
from pulumi_alembic.scripts.history import History
from pulumi_alembic.scripts.plan import plan
from taskdb.local.binaries import Binaries
from taskdb.local.record import Server
from tests.conftest import Database
from tests.faults.striking import Striker
from tests.postgres.alembic.catalog import _pg_dump
from tests.postgres.alembic.conftest import ENV, PROJECT, Target
from tests.postgres.alembic.rendering_cases import FAILS, RENDERED, RUNS_PYTHON, SETUP

ONE, TWO = "20250101_001", "20250102_002"

# Statements that are not the revision's: transactions, settings, the migration tables, and checks before and after.
BESIDE = re.compile(
    r'(?i)/\* (batched_update|data guard)|WITH relation AS|BEGIN|COMMIT|ROLLBACK|(SAVEPOINT|RELEASE) "_pg3|'
    r'SET |RESET |DEALLOCATE ALL|SELECT |SHOW |.* "?migrations"?\.'
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    (folder / "versions").mkdir(parents=True)
    (folder / "env.py").write_text(ENV)
    write(folder, ONE, None, f"op.execute({SETUP!r})")
    return folder


def write(folder: Path, id: str, down: str | None, upgrade: str, downgrade: str = "pass") -> None:
    """Write a script whose upgrade begins at line 8."""
    (folder / "versions" / f"{id}_script.py").write_text(
        f'"""script {id}"""\nfrom alembic import op\nimport sqlalchemy as sa\nrevision = {id!r}\n'
        f"down_revision = {down!r}\ndef downgrade(): {downgrade}\n"
        f"def upgrade():\n{indent(dedent(upgrade).strip(chr(10)), '    ')}\n"
    )


def rendered(folder: Path) -> Rendered:
    history = History.load(folder)
    [one] = render(plan(history, [ONE], TWO), history)
    return one


@pytest.fixture
def at_one(directory: Path, make_target: Callable[[Path], Target], server: Server) -> Iterator[Callable[[], Target]]:
    """Yield a function that creates a database at the first revision.

    The owner of the database has a schema `archive` too.
    """

    def make() -> Target:
        target = make_target(directory)
        with Database(server, name(target)).connect() as admin:
            admin.execute(f"CREATE SCHEMA archive AUTHORIZATION {name(target)}_owner".encode())
        target.migrate(ONE)
        return target

    return make


def name(target: Target) -> str:
    return urlsplit(target.url).path[1:]


def environment(target: Target) -> dict[str, str]:
    """Return the variables with which libpq's programs connect, as the role that runs a revision."""
    url = urlsplit(target.url)
    return {
        "PATH": os.environ["PATH"],
        "PGHOST": str(url.hostname),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password),
        "PGDATABASE": name(target),
        "PGOPTIONS": f"-c role={name(target)}_owner",
        "PGCLIENTENCODING": "UTF8",
    }


def sent_by(target: Target, revision: str) -> list[str]:
    """Return the statements that the server gets during a migration to the revision, with parameters as $1."""
    url = urlsplit(target.url)
    with Striker(str(url.hostname), url.port or 0) as way:
        through = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{way.port}", query="sslmode=disable")
        assert replace(target, url=through.geturl()).migrate(revision) == revision
        return way.statements


def differences(sent: list[str], one: Rendered) -> list[str]:
    """Return the statements that were sent and not shown, or shown and not sent in this order.

    Statements that are not the revision's are ignored. A text with parameters is sent once for all rows. Batches are
    shown as the one statement that they form together.
    """
    shown = [" ".join(sql.split()) for sql, _ in one.statements if not sql.endswith("/* in batches */")]
    found, rows = [], ""
    for each in filter(None, sent):
        if shown and is_shown(each, shown[0]):
            shown.pop(0)
            rows = each if "$1" in each else ""
            while rows and shown and is_shown(rows, shown[0]):
                shown.pop(0)
        elif each != rows and not BESIDE.match(each):
            found.append(f"only sent: {each}")
    return found + [f"only shown: {each}" for each in shown]


def is_shown(sent: str, shown: str) -> bool:
    pattern = re.sub(r"(\\\$\d+)", r".+", re.escape(sent)).replace("\\ ", r"\s*")
    return sent == shown or re.fullmatch(pattern, shown) is not None


def run_psql(target: Target, one: Rendered) -> None:
    """Run the transaction as one script, and each statement outside it separately, in their order."""
    for outside, group in groupby(one.statements, key=lambda each: each[1]):
        texts = [sql for sql, _ in group]
        for script in texts if outside else ["\n;\n".join(texts)]:
            done = subprocess.run(
                ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *([] if outside else ["-1"]), "-f", "-"],
                env=environment(target),
                input=f"{script}\n;\n",
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr + script


@pytest.fixture
def dump(binaries: Binaries) -> Callable[[Target], str]:
    """Return a function that dumps a database as text: catalog, owners and rows."""
    program = _pg_dump(binaries)
    if program is None or which("psql") is None:
        pytest.skip("no psql and pg_dump for this server")

    def text(target: Target) -> str:
        done = subprocess.run(
            [program, "--exclude-schema=migrations", f"--role={name(target)}_owner"],
            env=environment(target),
            capture_output=True,
            text=True,
            check=True,
        )
        lines = done.stdout.replace(name(target), "database").splitlines()
        # The tokens of \restrict are random.
        return "\n".join(line for line in lines if not line.startswith(("\\restrict", "\\unrestrict")))

    return text


@pytest.mark.few("a parameter beside a percent sign", "a default with quotes", "two blocks")
@pytest.mark.parametrize("case", RENDERED)
def test_psql_leaves_what_the_revision_leaves(
    case: str, directory: Path, at_one: Callable[[], Target], dump: Callable[[Target], str]
) -> None:
    """If psql runs the SQL of the preview, catalog and rows equal those after the update."""
    write(directory, TWO, ONE, RENDERED[case])
    one = rendered(directory)
    assert one.runs_python == ""
    assert one.statements
    updated, by_hand = at_one(), at_one()
    before = dump(updated)
    sent = sent_by(updated, TWO)
    assert differences(sent, one) == []
    run_psql(by_hand, one)
    assert dump(by_hand) == dump(updated)
    assert dump(updated) != before


@pytest.mark.few(3)
@pytest.mark.parametrize("case", RUNS_PYTHON)
def test_what_only_running_shows_is_said_to_run_python(
    case: str, directory: Path, at_one: Callable[[], Target]
) -> None:
    """The preview's label names the line and what the script reads there. The update runs the revision anyway."""
    body, reason = RUNS_PYTHON[case]
    write(directory, TWO, ONE, body)
    one = rendered(directory)
    assert reason in one.runs_python
    assert one.runs_python.startswith("line ")
    assert one.statements == ()
    assert at_one().migrate(TWO) == TWO


@pytest.mark.few(2)
@pytest.mark.parametrize("case", FAILS)
def test_what_the_update_refuses_has_no_sql(case: str, directory: Path, at_one: Callable[[], Target]) -> None:
    """If the update fails, the preview shows the reason in one line instead of SQL."""
    body, reason = FAILS[case]
    write(directory, TWO, ONE, body)
    one = rendered(directory)
    assert reason in one.runs_python
    assert "\n" not in one.runs_python
    assert one.statements == ()
    with pytest.raises(MigrationError):
        at_one().migrate(TWO)


@pytest.mark.full
def test_the_whole_way_up_and_down_by_psql(
    make_target: Callable[[Path], Target], dump: Callable[[Target], str]
) -> None:
    """The plans are the project's own revisions, first all upgrades and then all downgrades."""
    migrations = PROJECT / "migrations"
    history = History.load(migrations)
    updated, by_hand = make_target(migrations), make_target(migrations)
    head = history.resolve("head")
    for start, end in (((), head), ((head,), "base")):
        updated.migrate(end)
        for one in render(plan(history, start, end), history):
            assert one.runs_python == ""
            run_psql(by_hand, one)
        assert dump(by_hand) == dump(updated)


TIMES = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
NUMBERS = st.integers(-(10**20), 10**20) | st.floats() | st.decimals(places=3, allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
VALUES = (
    st.booleans() | NUMBERS | TEXTS | st.binary() | st.uuids() | TIMES | TIMES.map(lambda at: at.replace(tzinfo=UTC))
    | TIMES.map(datetime.date) | st.times() | st.timedeltas(timedelta(-9999), timedelta(9999)) | st.none()
    | st.lists(TEXTS) | st.lists(st.integers(-(2**62), 2**62) | st.none()) | st.lists(st.binary())
    | st.dictionaries(TEXTS, TEXTS).map(Jsonb) | st.ip_addresses()
)  # fmt: skip


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[psycopg.Connection]:
    with Database(server, "postgres").connect() as connection:
        yield connection


@settings(deadline=None, max_examples=300)
@given(VALUES)
def test_a_literal_is_to_the_server_what_psycopg_sends(connection: psycopg.Connection, value: object) -> None:
    """Type and text are the same, for any value."""
    sent = connection.execute("SELECT %s", [value], prepare=False)
    written = connection.execute(f"SELECT {literal(value)}".encode())
    assert [column.type_code for column in written.description or ()] == [
        column.type_code for column in sent.description or ()
    ]
    assert str(written.fetchall()) == str(sent.fetchall())
