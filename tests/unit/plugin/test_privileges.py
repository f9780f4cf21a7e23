"""Privileges: which words reach a statement, and what the word ALL stands for."""

from __future__ import annotations

from typing import Any

import pytest

from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.privileges import drifted, words

OF_A_TABLE = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}


@pytest.mark.parametrize("privilege", ["SELECT ON t TO x; DROP TABLE t; --", "select", "SELECT,INSERT", "", "SELECT\n"])
def test_only_a_plain_word_reaches_a_statement(privilege: str) -> None:
    """A privilege cannot be quoted."""
    assert words(["SELECT", "INSERT"]) == "SELECT,INSERT"
    with pytest.raises(ProviderError, match="is not a privilege"):
        words(["SELECT", privilege])


@pytest.mark.parametrize(
    ("kind", "granted", "version", "differs"),
    [
        ("table", OF_A_TABLE, 160000, False),
        ("table", OF_A_TABLE | {"MAINTAIN"}, 160000, True),
        ("table", OF_A_TABLE, 170000, True),
        ("table", OF_A_TABLE | {"MAINTAIN"}, 170000, False),
        ("sequence", {"USAGE", "SELECT", "UPDATE"}, 170000, False),
        ("sequence", {"USAGE", "SELECT"}, 170000, True),
    ],
)
def test_all_means_each_privilege_of_this_type_and_server(
    kind: str, granted: set[str], version: int, differs: bool
) -> None:
    change: Any = {"privileges": ["ALL"], "objectType": kind}
    assert drifted(change, granted, version) is differs
