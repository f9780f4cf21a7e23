"""What stops an update, and that each way on that is named can be gone."""

from __future__ import annotations

import pytest

from pulumi_alembic.errors import LintError
from pulumi_alembic.review.gates import Gates
from pulumi_alembic.review.plan_review import Account, Finding, RevisionAccount, Severity, StatementAccount

CONFIGURE = "pulumi config set --path taskdb:lint.{rule} warning"


def found(rule: str, *, direction: str = "upgrade", sent: bool = False, suggestion: str = "x") -> Account:
    finding = Finding(rule, Severity.ERROR, "m", suggestion)
    statements = (StatementAccount("SELECT 1", findings=(finding,)),) if sent else ()
    own = () if sent else (finding,)
    one = RevisionAccount("20250101_001", "m", "versions/1.py", "c", direction, "", statements, own)
    return Account("base", "20250101_001", direction, revisions=(one,))


def check(account: Account) -> None:
    Gates("pulumi up", CONFIGURE).check([account], account.digest)


@pytest.mark.parametrize("sent", [True, False])
def test_nothing_that_is_found_on_the_way_back_stops_it(sent: bool) -> None:
    check(found("security-definer-search-path", direction="downgrade", sent=sent))
    with pytest.raises(LintError):
        check(found("security-definer-search-path", sent=sent))


@pytest.mark.parametrize(
    ("account", "ways"),
    [
        (
            found("truncate", sent=True),
            [
                "mend the script, as shown, and: pulumi-alembic manifest",
                "excuse it, in a comment above the statement: # lint: allow truncate: REASON; "
                "and: pulumi-alembic manifest",
            ],
        ),
        (
            found("irreversible-downgrade", suggestion=""),
            [
                "mend the script, and: pulumi-alembic manifest",
                "excuse it, in a comment anywhere in the script: # lint: allow irreversible-downgrade: REASON; "
                "and: pulumi-alembic manifest",
            ],
        ),
        (
            found("production-without-backup"),
            [
                "do what is shown",
                "excuse it, in a comment anywhere in the script: # lint: allow production-without-backup: REASON; "
                "and: pulumi-alembic manifest",
            ],
        ),
        (found("bad-excuse", suggestion=""), ["mend the script, and: pulumi-alembic manifest"]),
    ],
    ids=["of a statement", "of a script", "of the plan", "of an excuse"],
)
def test_each_way_on_is_one(account: Account, ways: list[str]) -> None:
    with pytest.raises(LintError) as error:
        check(account)
    _, _, told = str(error.value).partition("one of these, then pulumi up:\n")
    [rule] = {each.rule for one in account.revisions for part in (one, *one.statements) for each in part.findings}
    last = f"judge the rule otherwise in this stack: {CONFIGURE.format(rule=rule)}"
    assert [line.strip() for line in told.splitlines()] == [*ways, last]
