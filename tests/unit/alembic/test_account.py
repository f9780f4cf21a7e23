"""An account of a plan survives its JSON, and anything else is refused with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulumi_alembic.account import (
    Account,
    Effects,
    Finding,
    Lock,
    RevisionAccount,
    Severity,
    StatementAccount,
)
from pulumi_alembic.errors import MigrationError

TEXT = st.text(max_size=8)


def tuples(part: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(part, max_size=2).map(tuple)


EFFECTS = st.builds(Effects, tuples(st.builds(Lock, TEXT, TEXT)), tuples(TEXT), tuples(TEXT), tuples(TEXT))
FINDINGS = tuples(st.builds(Finding, TEXT, st.sampled_from(Severity), TEXT, TEXT, TEXT))
STATEMENTS = tuples(st.builds(StatementAccount, TEXT, st.booleans(), EFFECTS, FINDINGS))
REVISIONS = tuples(st.builds(RevisionAccount, TEXT, TEXT, TEXT, TEXT, TEXT, TEXT, STATEMENTS, FINDINGS))
ACCOUNTS = st.builds(Account, TEXT, TEXT, TEXT, TEXT, st.booleans(), REVISIONS)


@given(ACCOUNTS)
def test_an_account_is_the_same_after_its_json(account: Account) -> None:
    assert Account.from_json(json.loads(json.dumps(account.to_json()))) == account


WHOLE = {"origin": "base", "target": "a", "direction": "upgrade", "revisions": [{}]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], r"plan is not an object"),
        ({**WHOLE, "more": 1}, r"plan has the unknown key more"),
        ({**WHOLE, "revisions": {}}, r"plan\.revisions is not a list"),
        (WHOLE, r"plan\.revisions\[0\] lacks one of id"),
        ({**WHOLE, "target": 1}, r"plan\.target is not a text"),
    ],
)
def test_another_document_is_refused_with_its_place(document: object, message: str) -> None:
    with pytest.raises(MigrationError, match=message):
        Account.from_json(document)
