"""No text that is shown of SQL or of a script contains a password."""

import pytest

from pulumi_alembic.output.redact import redact, redact_source

SECRET = "geheim"


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE x PASSWORD 'geheim' VALID UNTIL 'infinity'",
        "alter role x password  'it''s geheim' VALID UNTIL 'infinity'",
        "ALTER ROLE x PASSWORD E'geheim\\'geheim' VALID UNTIL 'infinity'",
        "ALTER ROLE x PASSWORD U&'geheim' VALID UNTIL 'infinity'",
        "ALTER ROLE x PASSWORD $$geheim$$ VALID UNTIL 'infinity'",
        "ALTER ROLE x PASSWORD $a$geheim$$geheim$a$ VALID UNTIL 'infinity'",
        "ALTER ROLE x PASSWORD /* 'a' */ -- b\n 'geheim' VALID UNTIL 'infinity'",
        "DO $$ BEGIN EXECUTE 'ALTER ROLE x PASSWORD ''geheim'' CONNECTION LIMIT 7 -- infinity'; END $$",
        "CREATE SUBSCRIPTION s CONNECTION 'host=h password=geheim user=infinity' PUBLICATION p",
    ],
)
def test_a_password_is_left_out_and_what_is_behind_it_is_not(statement: str) -> None:
    assert SECRET not in redact(statement)
    assert "infinity" in redact(statement)


@pytest.mark.parametrize(
    "statement",
    ["CREATE TABLE users (password_hash text DEFAULT 'x')", "SELECT 'password'", "UPDATE t SET x = 'it''s'"],
)
def test_what_is_no_password_is_as_it_was(statement: str) -> None:
    assert redact(statement) == statement


@pytest.mark.parametrize(
    "line", ["op.execute(\"ALTER ROLE x PASSWORD 'geheim'\")", "password=$$geheim$$", "PASSWORD E'geheim'"]
)
def test_a_line_of_a_script_ends_at_its_password(line: str) -> None:
    assert SECRET not in redact_source(line)
