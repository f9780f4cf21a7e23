"""Rendering of each revision for a preview, without any server."""

import gc
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from pulumi_alembic.database.literals import Unbindable, bound, literal
from pulumi_alembic.errors import HistoryError
from pulumi_alembic.migrate.alembic_run import import_scripts
from pulumi_alembic.migrate.script_module import load
from pulumi_alembic.review.rendering import Rendered, render
from pulumi_alembic.review.rendering.dependence import needs_watch
from pulumi_alembic.review.rendering.dry_run import first_line
from pulumi_alembic.scripts.history import BASE, History
from pulumi_alembic.scripts.plan import plan
from pulumi_alembic.scripts.revision import Revision

IDS = [f"2025010{day}_001" for day in range(1, 8)]

Render = Callable[..., tuple[Rendered, ...]]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(
        "import sqlalchemy as sa\nfrom pulumi_alembic import environment\n"
        "environment.run(target_metadata=sa.MetaData(), url=lambda: 1 / 0)\n"
    )
    return tmp_path


@pytest.fixture
def upgrade(project: Path) -> Render:
    """Render scripts with these upgrades. The body of each begins at line 6."""

    def rendered(*bodies: str, top: str = "") -> tuple[Rendered, ...]:
        for id, down, body in zip(IDS, [None, *IDS], bodies, strict=False):
            write(project, id, down, body, top=top)
        history = History.load(project)
        return render(plan(history, (), history.resolve("head")), history)

    return rendered


def write(project: Path, id: str, down: str | None, upgrade: str, downgrade: str = "pass", top: str = "") -> None:
    (project / "versions" / f"{id}_x.py").write_text(
        f"from alembic import op; import sqlalchemy as sa\nrevision, down_revision = 1, 2\nrevision = {id!r}\n"
        f"down_revision = {down!r}\n{top or '#'}\ndef upgrade(): {upgrade}\ndef downgrade(): {downgrade}\n"
    )


def test_each_step_has_its_own_statements_in_the_order_of_the_plan(upgrade: Render) -> None:
    """A transaction, block or failure of one revision does not affect the next one."""
    one, two, three = upgrade(
        'op.execute("CREATE TABLE a (x int)")', "raise ValueError", 'op.execute("DROP TABLE a"); op.execute("SELECT 1")'
    )
    assert one == Rendered((("CREATE TABLE a (x int)", False),))
    assert two == Rendered((), "line 6: raises ValueError")
    assert three == Rendered((("DROP TABLE a", False), ("SELECT 1", False)))


def test_what_a_revision_sets_on_its_connection_ends_with_it(upgrade: Render) -> None:
    """All revisions are rendered over one connection and in one context, as they run."""
    one, two, three = upgrade(
        'op.get_bind().execution_options(schema_translate_map={None: "other"}); op.create_table("a")',
        'op.create_table("a")',
        'op.get_context().opts["recorder"] = None; op.execute("SELECT 1")',
    )
    assert ["other.a" in each.statements[0][0] for each in (one, two)] == [True, False]
    assert three == Rendered((("SELECT 1", False),))


@pytest.mark.parametrize(
    "source",
    [
        "import json; import os",
        "from os \\\nimport path",
        "if True:\n    import json, os",
        "from json import decoder as os; from os import path",
        "import json as a; import os as json",
        "from . import json",
        "\uff4fpen('file')",
        "from sqlalchemy import (\n    create_engine,\n)",
        "x = [op.util]",
    ],
)
def test_a_script_that_reaches_out_is_watched_however_it_is_written(source: str) -> None:
    assert needs_watch(source)


@pytest.mark.parametrize(
    "source",
    [
        "import sqlalchemy as sa\nfrom alembic import op",
        "from sqlalchemy.dialects import postgresql",
        '"""import everything"""\nimport json',
        "from sqlalchemy import (\n    Column,\n)",
        "name = 'ü'\nimport json",
    ],
)
def test_a_script_that_only_computes_is_not_watched(source: str) -> None:
    assert not needs_watch(source)


def test_downgrades_are_rendered_downwards(project: Path) -> None:
    """A downgrade calls the functions of the plan's direction, the newest revision first."""
    write(project, IDS[0], None, "1 / 0", 'op.drop_table("a")')
    write(project, IDS[1], IDS[0], "1 / 0", 'op.execute("DROP TABLE b")')
    history = History.load(project)
    two, one = render(plan(history, [IDS[1]], BASE), history)
    assert two.statements == (("DROP TABLE b", False),)
    assert [sql.strip() for sql, _ in one.statements] == ["DROP TABLE a"]


def test_a_plan_without_steps_imports_neither_alembic_nor_sqlalchemy(project: Path) -> None:
    """If nothing is pending, nothing slow is loaded."""
    import subprocess

    code = (
        "import sys; from pathlib import Path; from pulumi_alembic.scripts.history import History;"
        "from pulumi_alembic.scripts.plan import plan; from pulumi_alembic.review.rendering import render;"
        f"history = History.load(Path({str(project)!r})); assert render(plan(history, (), 'base'), history) == ();"
        "print([name for name in ('alembic', 'sqlalchemy', 'postgast', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_env_py_that_runs_nothing_is_named(project: Path) -> None:
    """An empty preview would look as if nothing had to be done."""
    write(project, IDS[0], None, "pass")
    (project / "env.py").write_text("")
    history = History.load(project)
    with pytest.raises(HistoryError, match=r"env.py does not call pulumi_alembic.environment.run"):
        render(plan(history, (), IDS[0]), history)


def test_an_env_py_that_fails_is_an_error_of_one_line(project: Path) -> None:
    """The error contains the message of the exception, without a traceback."""
    write(project, IDS[0], None, "pass")
    (project / "env.py").write_text("raise ValueError('no\\nway')")
    history = History.load(project)
    with pytest.raises(HistoryError, match=r"env.py does not run. .*env.py, line 1: ValueError: no$"):
        render(plan(history, (), IDS[0]), history)


@pytest.mark.parametrize(
    "body",
    [
        "import subprocess; subprocess.run(['touch', {path!r}])",
        "import os; os.system('touch ' + {path!r})",
        "open({path!r}, 'w')",
        "from pathlib import Path; Path({path!r}).touch()",
        "import threading; threading.Thread(target=lambda: open({path!r}, 'w')).start()",
        pytest.param(
            "from concurrent import interpreters; interpreters.create().exec(\"open({path!r}, 'w')\")",
            marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="Python 3.14 has it"),
        ),
    ],
)
def test_what_a_script_would_do_beside_the_database_does_not_happen(upgrade: Render, tmp_path: Path, body: str) -> None:
    """A preview ends the script before such a call."""
    [one] = upgrade(body.format(path=str(tmp_path / "made")))
    assert one.runs_python.startswith("line 6: reads ")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("top", "body", "reason"),
    [
        ("import datetime; NOW = datetime.datetime.now()", "op.execute(str(NOW))", "line 5: reads the time (now)"),
        ("import os; HOME = os.environ['HOME']", "pass", "line 5: reads an environment variable"),
        ("import random; R = random.Random(5)", "op.execute(str(R.random()))", "line 5: reads random numbers"),
        ("import secrets", "op.execute(secrets.token_hex())", "line 6: reads the system (urandom)"),
        ("import platform", "op.execute(platform.node())", "line 6: reads the machine"),
        ("import sys", "op.execute(sys.argv[0])", "line 6: reads sys.argv"),
        ("NAMES = frozenset('abc')", "[op.execute(each) for each in NAMES]", "line 5: depends on the order of a set"),
        ("import time", "time.sleep(100)", "line 6: reads the time (sleep)"),
        ("", "op.execute(str(id(op)))", "line 6: depends on id()"),
        ("", "op.get_bind().engine.connect()", "line 6: opens a second connection"),
        ("", "op.get_bind().execution_options(isolation_level='AUTOCOMMIT')", "line 6: "),
    ],
)
def test_what_differs_the_next_time_is_said_with_its_line(upgrade: Render, top: str, body: str, reason: str) -> None:
    """This holds in the function, and at the script's import."""
    [one] = upgrade(body, top=top)
    assert one.runs_python.startswith(reason)


@pytest.mark.parametrize(
    ("top", "body"),
    [
        ("import datetime, uuid, os.path", "op.execute(f'SELECT {datetime.date(2024, 1, 1)} {uuid.UUID(int=4)}')"),
        ("import logging", "logging.getLogger('x').warning('told'); op.execute('SELECT 1')"),
        ("import csv, io, hashlib", "op.execute(hashlib.sha256(b'x').hexdigest())"),
        ("KNOWN = ('a', 'b')", "'a' in {'a', 'b'} and [op.execute(one) for one in sorted({'b', 'a'})]"),
        ("def downgrade_names(): return ['x']", "import colorsys; op.execute(downgrade_names()[0])"),
    ],
)
def test_what_always_computes_the_same_is_rendered(upgrade: Render, top: str, body: str) -> None:
    """Not every import makes a result unpredictable."""
    [one] = upgrade(body, top=top)
    assert one.runs_python == ""
    assert one.statements


def test_what_the_garbage_collector_calls_is_not_the_scripts_doing(upgrade: Render) -> None:
    """The collector can run at any line, so another revision would be labelled in each preview."""
    clock: list[float] = []
    threshold = gc.get_threshold()
    gc.callbacks.append(lambda *_: clock.append(time.perf_counter()))
    gc.set_threshold(1)
    try:
        [one] = upgrade("import csv; made = [[i] for i in range(5000)]; op.execute('SELECT 1')", top="import hashlib")
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.pop()
    assert one == Rendered((("SELECT 1", False),))
    assert clock


def test_a_reading_is_told_even_where_the_script_catches_everything(upgrade: Render) -> None:
    """The script continued with a value that the preview had invented."""
    [one] = upgrade(
        "\n  try:\n   n = op.get_bind().connection.cursor().fetchone()\n  except BaseException:\n   n = 5"
        "\n  op.execute(str(n))"
    )
    assert one == Rendered((), "line 8: reads what the database answers (cursor.fetchone)")


def test_a_script_that_was_ended_does_not_go_on(upgrade: Render, tmp_path: Path) -> None:
    """The script's own `except Exception` is for errors.

    The end of a preview is not an error, so the handler does not run.
    """
    [one] = upgrade(f"""
  try:
    open('/nowhere')
  except Exception:
    open({str(tmp_path / "made")!r}, 'w')""")
    assert one.runs_python == "line 8: reads a file (open)"
    assert not (tmp_path / "made").exists()


def test_an_error_that_a_helper_catches_is_told(
    upgrade: Render, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the database the statement can fail and the script goes on, but the rendered SQL would stop."""
    (tmp_path / "lenient_helper.py").write_text(
        "def run(op, sql):\n  try:\n    op.execute(sql)\n  except Exception:\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    [one] = upgrade("import lenient_helper; lenient_helper.run(op, 'DROP TABLE a')")
    assert one == Rendered((), "line 6: goes on where its statement fails: it catches the error")


def test_an_error_that_is_only_told_again_is_none(upgrade: Render) -> None:
    """A handler that raises ends the revision, just as psql ends."""
    [one] = upgrade("\n  try:\n   op.execute('SELECT 1')\n  except Exception as e:\n   raise ValueError(1) from e")
    assert one == Rendered((("SELECT 1", False),))


def test_a_script_prints_nothing_into_a_preview(upgrade: Render, capfd: pytest.CaptureFixture[str]) -> None:
    """The preview's output can be JSON."""
    upgrade("print('hello'); op.execute('SELECT 1')")
    assert capfd.readouterr().out == ""


def test_a_password_is_in_no_reason(upgrade: Render) -> None:
    """An exception can quote its statement."""
    [one] = upgrade("""raise ValueError("ALTER ROLE x PASSWORD 'secret'")""")
    assert "secret" not in one.runs_python


def test_rendering_is_the_same_twice(upgrade: Render) -> None:
    """An approval by digest depends on it, so earlier events in the process must not matter."""
    body = "op.get_bind().execute(sa.text('SELECT :a, :b'), {'a': chr(92), 'b': b'x'})"
    first = upgrade(body)
    random.seed(5)
    assert upgrade(body) == first


@pytest.mark.parametrize(
    ("value", "sql"),
    [
        (None, "NULL"),
        (True, "true"),
        (5, "5::int2"),
        (-32768, "'-32768'::int2"),
        (70000, "70000"),
        (5 * 10**9, "5000000000::int8"),
        (10**20, "100000000000000000000::numeric"),
        (1.5, "1.5::float8"),
        (float("-inf"), "'-inf'::float8"),
        (Decimal("5"), "5::numeric"),
        (Decimal("-1.50"), "'-1.50'::numeric"),
        ("it's", "'it''s'"),
        ("a\\b'", "E'a\\\\b'''"),
        (b"\x00'\\", "E'\\\\x00275c'::bytea"),
        (psycopg.Binary(b"'"), "E'\\\\x27'::bytea"),
        (date(2024, 2, 29), "'2024-02-29'::date"),
        (datetime(2024, 1, 1), "'2024-01-01 00:00:00'::timestamp"),
        (datetime(2024, 1, 1, tzinfo=UTC), "'2024-01-01 00:00:00+00:00'::timestamptz"),
        (timedelta(seconds=5), "'0:00:05'::interval"),
        (UUID(int=3), "'00000000000000000000000000000003'::uuid"),
        ([1, None], "'{1,NULL}'::int2[]"),
        (["a b", 'c"'], 'E\'{"a b","c\\\\""}\''),
        ([], "'{}'"),
    ],
)
def test_a_literal_has_the_type_that_psycopg_would_send(value: object, sql: str) -> None:
    """A bare literal would have another type, and so create another column or call another function."""
    assert literal(value) == sql


def test_percent_signs_are_what_psycopg_makes_of_them() -> None:
    """A doubled percent sign becomes one if there are parameters, and stays doubled otherwise."""
    assert bound("SELECT 5 %% 3, '%%s'", ()) == "SELECT 5 % 3, '%s'"
    assert bound("SELECT 5 % 3, '%s %%'", None) == "SELECT 5 % 3, '%s %%'"
    assert bound("%(a)s%%%(b)s %(a)s", {"a": "x", "b": "%s", "c": 1}) == "'x'%'%s' 'x'"
    assert bound("%s::INTEGER, %s", [5, 5]) == "5::INTEGER, 5::int2"


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("%s", []),
        ("%s", [1, 2]),
        ("SELECT 1", [1]),
        ("%(a)s", {}),
        ("%(a)s", [1]),
        ("%s", {"a": 1}),
        ("5 % 3", ()),
        ("LIKE '%'", ()),
        ("%b", [1]),
        ("%s", [object()]),
        ("%s", ["\0"]),
    ],
)
def test_parameters_that_psycopg_would_refuse_are_refused(query: str, parameters: list[object]) -> None:
    """The update would fail, so there is no SQL to show."""
    with pytest.raises(Unbindable):
        bound(query, parameters)


def test_what_an_exception_says_is_the_same_in_every_process() -> None:
    """A plan's digest covers this text."""
    assert first_line(AssertionError("not <psycopg at 0x7Ff4d390ecd0>")) == "AssertionError: not <psycopg at 0x…>"


def test_a_script_that_was_edited_since_it_was_read_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "20250101_001_script.py"
    path.write_text("revision = '20250101_001'\ndown_revision = None\ndef upgrade(): pass\ndef downgrade(): pass\n")
    revision = Revision.read(tmp_path, path.name)
    assert list(import_scripts([revision])) == [revision.id]
    path.write_text(path.read_text() + "# more\n")
    with pytest.raises(HistoryError, match=f"{path.name} was edited during the run"):
        import_scripts([revision])


def test_a_module_is_made_of_the_text_that_was_read_as_python_reads_a_file(tmp_path: Path) -> None:
    """A later edit of the file does not run, and the module gets no future import of this package."""
    path = tmp_path / "20250101_001_script.py"
    path.write_text(
        "# coding: latin-1\nrevision = '20250101_001'\ndown_revision = None\n"
        "word = 'é'\ndef upgrade(number: int): pass\n",
        encoding="utf-8",
    )
    revision = Revision.read(tmp_path, path.name)
    path.write_text("raise AssertionError\n")
    first, second = load(revision), load(revision)
    assert vars(first) is not vars(second)
    assert first.upgrade.__code__ is second.upgrade.__code__, "compiled once"
    assert first.upgrade.__annotations__ == {"number": int}
    assert first.word == "Ã©", "as the encoding says that the text declares"
    assert first.upgrade.__code__.co_filename == first.__file__ == str(path)
