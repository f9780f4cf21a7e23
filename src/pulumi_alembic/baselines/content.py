"""What pg_dump prints of a scratch database: as the statements of a baseline, and as the rows that are in it."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from pulumi_alembic.database.connection import KEPT_SCHEMA, VERSION_SCHEMA
from pulumi_alembic.database.pg_programs import Programs, environment
from pulumi_alembic.errors import BaselineError
from pulumi_alembic.review.rehearsal.copying import bare_statements
from pulumi_alembic.sql.parser import ParseError, nodes, parse

__all__ = ["dump", "portable", "rows"]

_OPTIONS = (
    "--no-owner", "--no-tablespaces", "--no-subscriptions", "--no-security-labels", "--no-password", "--inserts",
    f"--exclude-schema={VERSION_SCHEMA}", f"--exclude-schema={KEPT_SCHEMA}",
)  # fmt: skip

_SETTINGS = """
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL check_function_bodies = false;
SET LOCAL client_min_messages = warning;
SET LOCAL row_security = off;
SET LOCAL xmloption = content;
SET LOCAL intervalstyle = postgres;
SELECT pg_catalog.set_config('search_path', '', true);
""".lstrip()
"""What the statements of pg_dump rely on, on any version, until the end of the transaction."""

_SETTING = re.compile(r"SET [a-z_]+ = |SELECT pg_catalog\.set_config\(")
_ROWS = re.compile(r"INSERT INTO ((?:\"(?:[^\"]|\"\")+\"|[^ .\"]+)\.(?:\"(?:[^\"]|\"\")+\"|[^ .\"]+)) ")
_SEQUENCE = re.compile(r"SELECT pg_catalog\.setval\('((?:[^']|'')+)'")
_NAME = re.compile(r'"(?:[^"]|"")+"|\w[\w$]*')
_ALL = re.compile(r"REVOKE ALL ON TABLE .+ FROM CURRENT_USER")
_OWNED = re.compile(r"GRANT ([A-Z]+(?:,[A-Z]+)*) ON TABLE (.+) TO CURRENT_USER")
_RIGHTS = {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}
"""Of a table, in every version; PostgreSQL 17 added MAINTAIN."""
_MOST = 4
"""Whoever revokes so many of them is taken to have revoked all, and granted some."""

_OF_AN_OBJECT = re.compile(
    r"(?:CREATE|ALTER) (SCHEMA|EXTENSION) (?:IF NOT EXISTS )?|COMMENT ON (SCHEMA|EXTENSION) "
    r"|(?:GRANT|REVOKE) [A-Z, ]+ ON (SCHEMA) "
)


def dump(client: Programs, url: str, owner: str) -> str:
    """All that the `owner` has in the database of `url`, with rows, as SQL. Raises BaselineError if pg_dump fails."""
    command = [str(client.program("pg_dump")), *_OPTIONS, f"--role={owner}"]
    settings = environment(url, PGCLIENTENCODING="UTF8", PGTZ="UTC")
    try:
        done = subprocess.run(command, env=settings, capture_output=True, check=False)
        # As bytes: in text mode a carriage return would become a line feed.
        dumped = done.stdout.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise BaselineError(f"pg_dump: {type(error).__name__}") from None
    if done.returncode != 0:
        raise BaselineError(f"pg_dump: {done.stderr.decode(errors='replace').strip()}")
    return dumped


def portable(dumped: str, roles: tuple[str, str], before: Collection[tuple[str, str]]) -> str:
    """The dump as statements for any server, without what was there `before`: pairs of a kind and a name, as SQL.

    The names of the `roles`, the owner and the login, become CURRENT_USER and SESSION_USER: they are others elsewhere.
    """
    statements = [
        _without_names(statement, roles)
        for statement in bare_statements(dumped)
        if not _SETTING.match(statement) and not _is_of(statement, before)
    ]
    return _SETTINGS + "".join(f"{statement};\n" for statement in _of_any_version(statements))


def rows(dumped: str) -> dict[str, Counter[str]]:
    """By table or sequence the statements that fill it."""
    filled: dict[str, Counter[str]] = {}
    for statement in bare_statements(dumped):
        if match := _ROWS.match(statement) or _SEQUENCE.match(statement):
            filled.setdefault(match[1], Counter())[statement] += 1
    return filled


def _of_any_version(statements: Iterable[str]) -> Iterator[str]:
    """With what the owner lacks of its rights on a table, in place of what it has: since PostgreSQL 17 that is more."""
    revoked = ""
    for statement in statements:
        kept = _OWNED.fullmatch(statement)
        lacks = _RIGHTS - set(kept[1].split(",")) if kept else set()
        if kept and revoked == f"REVOKE ALL ON TABLE {kept[2]} FROM CURRENT_USER" and 0 < len(lacks) < _MOST:
            statement = f"REVOKE {','.join(sorted(lacks))} ON TABLE {kept[2]} FROM CURRENT_USER"
        elif revoked:
            yield revoked
        revoked = statement if _ALL.fullmatch(statement) else ""
        if not revoked:
            yield statement
    if revoked:
        yield revoked


def _is_of(statement: str, before: Collection[tuple[str, str]]) -> bool:
    match = _OF_AN_OBJECT.match(statement)
    name = _NAME.match(statement, match.end()) if match else None
    return match is not None and name is not None and (match[1] or match[2] or match[3], name[0]) in before


def _without_names(statement: str, roles: tuple[str, str]) -> str:
    if _ROWS.match(statement) or not any(role in statement for role in roles):
        return statement
    return "".join(_parts(statement, dict(zip(roles, ("CURRENT_USER", "SESSION_USER"), strict=True))))


def _parts(statement: str, placeholders: dict[str, str]) -> Iterator[str]:
    end = 0
    for location, role in sorted(_roles(statement)):
        name = _NAME.match(statement, location)
        if role in placeholders and name is not None:
            yield statement[end:location] + placeholders[role]
            end = name.end()
    yield statement[end:]


def _roles(statement: str) -> Iterable[tuple[int, str]]:
    try:
        return [(node.location, node.rolename) for node in nodes(parse(statement), "RoleSpec") if node.rolename]
    except ParseError:
        # A later version's words: what it names can then be of this server alone, which the comparison shows.
        return []
