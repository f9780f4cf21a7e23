"""The schema file of `pulumi-alembic schema`: a database's heads, catalog and definitions. No row and no password.

A deployment writes the file with the migrator's login. A pull request's report reads it, and rehearses on another
server, without access to the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from pulumi_alembic.database.connection import connect, log_in, login_search_path, read_catalog_document, read_heads
from pulumi_alembic.errors import DatabaseError, MigrationError, NotRehearsed
from pulumi_alembic.ledger import ledger
from pulumi_alembic.ledger.integrity import Run, read_runs
from pulumi_alembic.review.rehearsal.copying import Foundation, FoundationSchema, read_access
from pulumi_alembic.review.rehearsal.roles import Roles, read_roles
from pulumi_alembic.review.rehearsal.scratch import Locale, read_locale
from pulumi_alembic.review.rehearsal.source import read_source
from pulumi_alembic.sql.parser import slices

__all__ = ["Artifact", "Copy", "take"]

VERSION = 1

_SETTINGS = ("search_path", "TimeZone")
"""Settings of the login that affect what a revision's statements do."""

_PERSONAL = ("person", "stack", "commit", "backup")
"""Columns of the ledger that a rehearsal does not need."""

# As pg_dump writes it. The options can be passwords: the server shows them to fewer roles than other definitions.
_MAPPING = re.compile(r'CREATE USER MAPPING FOR (?:"(?:[^"]|"")+"|[^\s;"]+) SERVER (?:"(?:[^"]|"")+"|[^\s;"]+)')
_IS_MAPPING = re.compile(r"(?:\s|--.*$)*+CREATE USER MAPPING\b", re.MULTILINE)

# A name as PostgreSQL's quote_ident writes it. No other text becomes part of a statement that the admin sends.
_NAME = re.compile(r'PUBLIC|[a-z_][a-z0-9_]*|"(?:[^"\x00]|"")+"')
_SCHEMA_RIGHTS = ("USAGE", "CREATE")
_DATABASE_RIGHTS = ("CONNECT", "TEMPORARY", "CREATE")
_OPTIONS = ("", " WITH GRANT OPTION")

_COPY_SHAPE = {
    "schemas": {str: (str, [(str, str, str)])},
    "extensions": [(str, str)],
    "owners": (str, str),
    "roles": {str: bool},
    "members": [(str, str)],
    "access": [(str, str)],
    "locale": (str, str, str),
    "settings": {"search_path": str, "TimeZone": str},
    "ledger": [{"id": int}],
    "definitions": str,
}
_SHAPE = {
    "address": str,
    "name": str,
    "written": str,
    "server": int,
    "heads": [str],
    "runs": {str: (int, str, str, [str])},
    "catalog": {"search_path": [str]},
    "not_rehearsed": str,
}


@dataclass(frozen=True)
class Copy:
    """The schema from which a scratch database is made on another server.

    Attributes:
        foundation: What the admin creates first: schemas and extensions.
        roles: The roles that the schema names.
        access: Rights on the database, as pairs of privilege and grantee.
        locale: The database's encoding, LC_COLLATE and LC_CTYPE.
        settings: Settings of the login, as pairs of name and value.
        ledger: The ledger's rows of unfinished revisions, as JSON.
        definitions: The schema as pg_dump prints it, without the options of user mappings.

    """

    foundation: Foundation
    roles: Roles
    access: tuple[tuple[str, str], ...]
    locale: Locale
    settings: tuple[tuple[str, str], ...]
    ledger: tuple[str, ...]
    definitions: str


@dataclass(frozen=True)
class Artifact:
    """The schema of one database at the time `written`.

    Attributes:
        address: The database as `HOST:PORT/NAME`.
        server: The server's major version.
        runs: The ledger's last run of each revision.
        catalog: The document that `Catalog.of` reads.
        copy: The schema for a scratch database. None if it cannot be rehearsed.
        not_rehearsed: The reason if there is no `copy`.

    """

    address: str
    name: str
    written: str
    server: int
    heads: tuple[str, ...]
    runs: Mapping[str, Run]
    catalog: Mapping[str, Any]
    copy: Copy | None
    not_rehearsed: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the file's JSON values, which `from_json` reads."""
        return {
            "version": VERSION,
            "address": self.address,
            "name": self.name,
            "written": self.written,
            "server": self.server,
            "heads": list(self.heads),
            "runs": {id: list(run) for id, run in self.runs.items()},
            "catalog": self.catalog,
            "not_rehearsed": self.not_rehearsed,
            "copy": _written(self.copy) if self.copy else None,
        }

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read what `to_json` returned.

        Raises:
            MigrationError: The document has another form or version. The text is one line.

        """
        if not isinstance(document, Mapping) or "version" not in document:
            raise MigrationError("this is not what pulumi-alembic schema writes")
        if document["version"] != VERSION:
            raise MigrationError(f"it has version {document['version']!r}, and this release reads {VERSION}")
        copy = document.get("copy")
        for part, shape in ((document, _SHAPE), *(((copy, _COPY_SHAPE),) if copy is not None else ())):
            if wrong := _misfit(part, shape):
                raise MigrationError(f"{wrong} is not what pulumi-alembic schema writes")
        return cls(
            document["address"],
            document["name"],
            document["written"],
            document["server"],
            tuple(document["heads"]),
            {id: Run(*run) for id, run in document["runs"].items()},
            document["catalog"],
            None if copy is None else _read(copy),
            document["not_rehearsed"],
        )


def take(url: str, address: str) -> Artifact:
    """Read the schema of a database. Nothing is changed, and no other session waits.

    Args:
        url: The migrator's URL.
        address: The name of the database in reports.

    Raises:
        DatabaseError: The database cannot be reached, or was migrated during the reading.

    """
    with connect(url) as connection:
        heads = read_heads(connection)
        runs = read_runs(connection)
        catalog = read_catalog_document(connection, login_search_path(url))
        unfinished = {attempt.revision for attempt in ledger.attempts(connection)}
        connection.rollback()
        name, server = connection.info.dbname, connection.info.server_version // 10000
        copy, reason = None, ""
        try:
            source = read_source(url, sorted(unfinished))
            copy = Copy(
                source.foundation,
                read_roles(connection),
                tuple(read_access(connection, name)),
                read_locale(connection, name),
                _settings(url),
                tuple(map(_impersonal, source.ledger)),
                _without_options(source.definitions),
            )
        except NotRehearsed as refused:
            reason = str(refused)
        connection.rollback()
        if read_heads(connection) != heads:
            raise DatabaseError(f"database {name}: it was migrated while its schema was read. Run this again")
    written = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return Artifact(address, name, written, server, heads, runs, catalog, copy, reason)


def _settings(url: str) -> tuple[tuple[str, str], ...]:
    with closing(log_in(url, own=False)) as session:
        shown = ", ".join(f"pg_catalog.current_setting('{name}')" for name in _SETTINGS)
        [values] = session.execute(f"SELECT {shown}".encode()).fetchall()
    return tuple(zip(_SETTINGS, values, strict=True))


def _impersonal(row: str) -> str:
    return json.dumps({name: value for name, value in json.loads(row).items() if name not in _PERSONAL})


def _without_options(dumped: str) -> str:
    """Return the definitions without the options of user mappings. Raises NotRehearsed if one cannot be found."""
    if "CREATE USER MAPPING" not in dumped:
        return dumped
    parts, end = [], 0
    for part in slices(dumped):
        statement = dumped[part]
        parts.append(dumped[end : part.start])
        if bare := _IS_MAPPING.match(statement):
            mapping = _MAPPING.match(statement, bare.end() - len("CREATE USER MAPPING"))
            if mapping is None:
                raise NotRehearsed("the options of a user mapping cannot be removed from the definitions")
            statement = statement[: mapping.end()]
        parts.append(statement)
        end = part.stop
    return "".join([*parts, dumped[end:]])


def _written(copy: Copy) -> dict[str, Any]:
    schemas, roles = copy.foundation.schemas, copy.roles
    return {
        "schemas": {name: [schema.owner, sorted(map(list, schema.rights))] for name, schema in schemas.items()},
        "extensions": [list(extension) for extension in copy.foundation.extensions],
        "owners": list(copy.foundation.owners),
        "roles": roles.inherits,
        "members": [list(member) for member in roles.members],
        "access": [list(item) for item in copy.access],
        "locale": list(copy.locale),
        "settings": dict(copy.settings),
        "ledger": [json.loads(line) for line in copy.ledger],
        "definitions": copy.definitions,
    }


def _read(copy: Mapping[str, Any]) -> Copy:
    schemas = {
        name: FoundationSchema(
            owner, frozenset((_one_of(_SCHEMA_RIGHTS, a), _name(b), _one_of(_OPTIONS, c)) for a, b, c in rights)
        )
        for name, (owner, rights) in copy["schemas"].items()
    }
    owner, login = copy["owners"]
    extensions = tuple((name, within) for name, within in copy["extensions"])
    encoding, collate, ctype = copy["locale"]
    return Copy(
        Foundation(schemas, extensions, (owner, login)),
        Roles(copy["roles"], tuple((role, member) for role, member in copy["members"]), owner, login),
        tuple((_one_of(_DATABASE_RIGHTS, privilege), _name(grantee)) for privilege, grantee in copy["access"]),
        (encoding, collate, ctype),
        tuple((name, copy["settings"][name]) for name in _SETTINGS),
        tuple(json.dumps(row) for row in copy["ledger"]),
        copy["definitions"],
    )


def _one_of(known: tuple[str, ...], text: str) -> str:
    if text not in known:
        raise MigrationError(f"{text[:40]!r} is no right that pulumi-alembic schema writes")
    return text


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise MigrationError(f"{text[:40]!r} is no name that pulumi-alembic schema writes")
    return text


def _misfit(value: Any, shape: Any, place: str = "it") -> str:
    """Return the place of the first value with another shape. Empty if there is none."""
    if isinstance(shape, type):
        return "" if type(value) is shape else place
    if isinstance(shape, tuple):
        if not isinstance(value, list) or len(value) != len(shape):
            return place
        pairs = [(f"{place}[{number}]", item, shape[number]) for number, item in enumerate(value)]
    elif isinstance(shape, list):
        if not isinstance(value, list):
            return place
        pairs = [(f"{place}[{number}]", item, shape[0]) for number, item in enumerate(value)]
    elif not isinstance(value, Mapping):
        return place
    elif str in shape:
        pairs = [(f"{place}.{key}", item, shape[str]) for key, item in value.items()]
    else:
        pairs = [(f"{place}.{key}", value.get(key), expected) for key, expected in shape.items()]
    return next((wrong for where, item, expected in pairs if (wrong := _misfit(item, expected, where))), "")
