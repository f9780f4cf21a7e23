"""A finding has the severity that the stack configures.

An invalid setting is an error that suggests the nearest valid one.
"""

import re

import pytest

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.review.lint import Settings
from pulumi_alembic.review.lint.installed import table
from pulumi_alembic.review.lint.rules import RULES, SQUAWK
from pulumi_alembic.review.plan_review import Severity
from tests.conftest import PROJECT


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ({"trunkate": "error"}, "lint has no rule 'trunkate'; the nearest: truncate"),
        ({"zzz": "error"}, "all of them: pulumi-alembic lint --rules"),
        ({"truncate": "fatal"}, "lint.truncate must be one of error, warning, info, off, not 'fatal'"),
        ({"large_rows": "many"}, "lint.large_rows must be a whole number of rows from 1, not 'many'"),
        ({"large_rows": "0"}, "lint.large_rows must be a whole number of rows from 1, not '0'"),
        ({"large_size": "256"}, "lint.large_size must be a number with its unit (such as 256MB or 10GB), not '256'"),
        ("truncate=off", "lint must be an object of rules and their severities, not"),
        (["truncate"], "lint must be an object of rules and their severities, not"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_does(configured: object, message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Settings.parse(configured)
    assert message in str(caught.value)


@pytest.mark.parametrize("off", ["off", False, "false"])
def test_off_is_off_also_where_yaml_reads_it_as_false(off: object) -> None:
    assert Settings.parse({"truncate": off}).severity("truncate", 2) is None


def test_a_severity_holds_wherever_there_are_rows() -> None:
    settings = Settings.parse({"truncate": "warning"})
    assert [settings.severity("truncate", situation) for situation in range(3)] == ["info", "warning", "warning"]


def test_a_practice_is_advice_and_an_obligation_on_a_production_stack() -> None:
    assert Settings().severity("irreversible-downgrade") is Severity.WARNING
    assert Settings(production=True).severity("irreversible-downgrade") is Severity.ERROR
    configured = Settings.parse({"irreversible-downgrade": "info"}, production=True)
    assert configured.severity("irreversible-downgrade") is Severity.INFO


def test_limits_are_read_in_rows_and_bytes() -> None:
    settings = Settings.parse({"large_rows": 5, "large_size": "2GB"})
    assert (settings.large_rows, settings.large_size) == (5, 2 * 1024**3)


def test_the_table_has_a_line_for_each_rule() -> None:
    lines = table().splitlines()
    assert len(lines) == 2 + len(RULES) and all(line.count(" | ") == 3 for line in lines[2:])
    assert {name for name in RULES if f"| `{name}` |" in table()} == set(RULES) > SQUAWK


def test_the_documentation_has_a_section_for_each_rule() -> None:
    page = (PROJECT / "docs/reference/rules.md").read_text()
    assert re.findall(r"^## `(.+)`$", page, re.MULTILINE) == [*RULES]
