import textwrap
from pathlib import Path

import pytest

from pulumi_alembic.errors import HistoryError
from pulumi_alembic.scripts.shape import Function, batched_updates, refuse_misplaced

BLOCK = "with op.get_context().autocommit_block():"


def script(body: str, *, before: str = "") -> str:
    return f"{before}def upgrade():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"


def check(source: str, function: str = "upgrade") -> None:
    refuse_misplaced(Function(Path("versions/20250101_001_a.py"), source, function))


@pytest.mark.parametrize(
    ("body", "line", "said"),
    [
        ("op.execute('CREATE INDEX CONCURRENTLY i ON t (x)')", 2, "CONCURRENTLY cannot run in a transaction"),
        ("op.execute(sa.text('VACUUM t'))", 2, "VACUUM cannot run in a transaction"),
        ("name = 'i'\nop.execute(f'DROP INDEX CONCURRENTLY {name}')", 3, "DROP INDEX CONCURRENTLY cannot run"),
        ("sql = 'VACUUM t'\nop.execute(sql)", 3, "VACUUM cannot run"),
        ("op.get_bind().exec_driver_sql('VACUUM t')", 2, "VACUUM cannot run"),
        (
            "op.create_index('i', 't', ['x'], postgresql_concurrently=True)",
            2,
            "built or dropped concurrently cannot run",
        ),
        ("if True:\n    op.drop_index('i', postgresql_concurrently=True)", 3, "concurrently cannot run"),
        (f"{BLOCK}\n    op.execute('CREATE INDEX i ON t (x)')", 3, "an autocommit block is for one of"),
        (f"{BLOCK}\n    op.execute('VACUUM t; VACUUM u')", 3, "several statements"),
        (
            f"{BLOCK}\n    op.execute('VACUUM t')\n    op.execute('VACUUM u')",
            4,
            "second statement of an autocommit block",
        ),
        (
            f"{BLOCK}\n    op.create_index('i', 't', ['x'], postgresql_concurrently=True)\n    op.execute(computed())",
            4,
            "second statement of an autocommit block, after that of line 3",
        ),
        (f"op.execute('DROP TABLE t')\n{BLOCK}\n    op.execute('VACUUM u')", 4, "what line 2 does in a transaction"),
        (f"op.add_column('t', c)\n{BLOCK}\n    op.execute('VACUUM u')", 4, "split it into two revisions"),
        ("op.execute('DROP TABLE u')\nbatched_update('t', 'x = 1')", 3, "split it into two revisions"),
        (f"{BLOCK}\n    batched_update('t', 'x = 1')", 3, "take it out of this one"),
    ],
)
def test_what_literals_show_in_the_wrong_place_is_refused_with_its_line(body: str, line: int, said: str) -> None:
    with pytest.raises(HistoryError, match=said) as caught:
        check(script(body))
    assert str(caught.value).startswith(f"versions/20250101_001_a.py:{line}: ")


@pytest.mark.parametrize(
    "body",
    [
        "op.execute('CREATE TABLE t ()')\nop.create_index('i', 't', ['x'])",
        f"{BLOCK}\n    op.execute('VACUUM t')\nop.execute('DROP TABLE u')",
        f"{BLOCK}\n    op.execute('VACUUM t')\n{BLOCK}\n    op.execute('VACUUM u')",
        f"{BLOCK}\n    op.create_index('i', 't', ['x'], postgresql_concurrently=True)",
        f"{BLOCK}\n    op.execute(computed())",
        f"op.get_bind().execute(sa.text('SELECT 1')).scalar()\n{BLOCK}\n    op.execute('VACUUM t')",
        f"if one():\n    op.execute('DROP TABLE t')\nelse:\n    {BLOCK}\n        op.execute('VACUUM t')",
        f"if one():\n    op.execute('DROP TABLE t')\n    return\n{BLOCK}\n    op.execute('VACUUM t')",
        f"{BLOCK}\n    if one():\n        op.execute('VACUUM t')\n    else:\n        op.execute('VACUUM u')",
        "op.create_index('i', 't', ['x'], postgresql_concurrently=False)",
        "op.execute(\"ALTER TYPE mood ADD VALUE 'ok'\")",
        "batched_update('t', 'x = 1')\nbatched_update('u', 'x = 1')\nop.execute('DROP TABLE v')",
        "def never(): op.execute('VACUUM t')",
    ],
)
def test_what_is_in_its_place_or_only_running_shows_passes(body: str) -> None:
    check(script(body))


def test_only_the_function_that_runs_is_looked_at() -> None:
    check(script("op.execute('VACUUM t')"), "downgrade")


def test_a_statement_that_the_module_names_is_seen() -> None:
    with pytest.raises(HistoryError, match="VACUUM cannot run"):
        check(script("op.execute(SQL)", before="SQL = 'VACUUM t'\n"))


def test_batched_updates_are_found_with_their_table_and_key() -> None:
    body = "batched_update('t', 'x')\nbatched_update('u', 'x', key='id')\nbatched_update(a, b, key=('c', 'd'))"
    found = batched_updates(Function(Path("a.py"), script(body), "upgrade"))
    assert [(one.line, one.table, one.key, one.keyed) for one in found] == [
        (2, "t", None, False),
        (3, "u", ("id",), True),
        (4, None, ("c", "d"), True),
    ]
