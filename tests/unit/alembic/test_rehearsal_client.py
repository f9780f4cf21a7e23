"""PostgreSQL's client programs log in as the URL says, all of it, and as nothing else says."""

from __future__ import annotations

import pytest

from pulumi_alembic.review.rehearsal.pg_client import environment


def test_all_that_a_url_says_reaches_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGSSLMODE", "disable")
    found = environment(
        "postgresql+psycopg://u:p%40@h:1/a%20b?options=-c%20geqo%3Doff&hostaddr=127.0.0.1&passfile=f&sslcrl=c"
        "&connect_timeout=3"
    )
    assert {name: value for name, value in found.items() if name.startswith("PG")} == {
        "PGHOST": "h",
        "PGHOSTADDR": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "u",
        "PGPASSWORD": "p@",
        "PGPASSFILE": "f",
        "PGDATABASE": "a b",
        "PGOPTIONS": "-c geqo=off -c search_path=pg_catalog,pg_temp",
        "PGSSLCRL": "c",
        "PGCONNECT_TIMEOUT": "3",
        "PGCLIENTENCODING": "UTF8",
    }
