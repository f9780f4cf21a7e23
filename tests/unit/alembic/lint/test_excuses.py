"""An exception applies to the statement that it stands at, and has a reason.

Other exceptions are named with their line.
"""

import pytest

from pulumi_alembic.review.lint.exceptions import LintExceptions, in_sql

SCRIPT = '''"""A script."""
from alembic import op

# lint: allow truncate: above nothing


def upgrade():
    # lint: allow truncate: it is a cache
    # of which nobody asks
    op.execute("TRUNCATE a")
    op.execute(
        "TRUNCATE b"  # lint: allow truncate: it is another
    )
    with op.get_context().autocommit_block():  # lint: allow cluster: it is a block
        op.execute("TRUNCATE c")
    x = "# lint: allow cluster: a text"


def downgrade():
    op.execute("TRUNCATE d")  # lint: allow truncate: down
'''


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        (10, ["it is a cache"]),
        (11, ["it is another"]),
        (12, ["it is another"]),
        (14, ["it is a block"]),
        (15, []),
        (16, []),
        (20, ["down"]),
        (0, []),
    ],
)
def test_an_excuse_is_for_its_own_statement(line: int, reasons: list[str]) -> None:
    assert [each.reason for each in LintExceptions(SCRIPT).at(line)] == reasons


def test_the_excuses_of_a_function_are_those_inside() -> None:
    assert [each.line for each in LintExceptions(SCRIPT).within("downgrade")] == [20]


@pytest.mark.parametrize(
    ("comment", "problem"),
    [
        ("# lint: allow truncate", "it gives no reason"),
        ("# lint: allow truncate:   ", "it gives no reason"),
        ("# lint: allow trunkate: because", "there is no rule 'trunkate'; the nearest: truncate"),
        ("# lint: ignore truncate", "it has another form: write # lint: allow RULE: reason"),
        ("#lint:truncate", "it has another form"),
    ],
)
def test_an_excuse_that_excuses_nothing_says_why(comment: str, problem: str) -> None:
    [found] = LintExceptions(f"x = 1  {comment}\n").all
    assert found.line == 1 and problem in found.problem


def test_an_excuse_within_sql_is_a_comment_of_it_and_no_literal() -> None:
    [found] = in_sql("TRUNCATE t -- lint: allow truncate: it is a cache\n")
    assert (found.rule, found.reason) == ("truncate", "it is a cache")
    [found] = in_sql("/* ü */ TRUNCATE t -- lint: allow cluster: ünused\n")
    assert (found.rule, found.reason) == ("cluster", "ünused")
    assert in_sql("INSERT INTO t VALUES ('-- lint: allow truncate: no')") == []
