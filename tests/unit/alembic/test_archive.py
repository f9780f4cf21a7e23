"""A dump is read by its statements: no row of a table and no text of a definition is taken for a statement."""

from pulumi_alembic.backups.archive import _copy_among, _plain

HEAD = b"--\n-- PostgreSQL database dump\n--\n\n\\restrict aBc1\n\n-- Dumped by pg_dump\n\nSET statement_timeout = 0;\n"


def test_what_is_for_psql_goes_from_the_beginning_and_the_end_only() -> None:
    body = b"COMMENT ON TABLE t IS 'a\n\\restrict x\nSET transaction_timeout = 0;\n\\unrestrict x\n';\n"
    script = HEAD + b"SET transaction_timeout = 0;\n" + body + b"\\unrestrict aBc1\n"
    assert _plain(script) == HEAD.replace(b"\\restrict aBc1\n", b"") + body


def test_a_copy_is_found_behind_other_statements() -> None:
    lines = [b"SET a = b;\n", b"--\n", b"COPY app.t (id, x) FROM stdin;\n"]
    assert _copy_among(lines) == (lines[:2], b"COPY app.t (id, x) FROM stdin", "app.t")
    assert _copy_among(lines[:2]) is None


def test_a_table_whose_name_has_line_ends_is_still_one() -> None:
    """Otherwise the rows, which the application writes, would be taken for statements."""
    lines = [b"--\n", b'COPY app."a\n', b"COPY x FROM stdin;\n", b'b" (id) FROM stdin;\n']
    assert _copy_among(lines[:3]) is None
    found = _copy_among(lines)
    assert found is not None
    assert found[1] == b'COPY app."a\nCOPY x FROM stdin;\nb" (id) FROM stdin'
