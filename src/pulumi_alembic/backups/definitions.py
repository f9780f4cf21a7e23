"""The fingerprint of a backup: a digest of its schemas' definitions that dumping and restoring does not change."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pulumi_alembic.database.fingerprint import digest, read_lines

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["read_fingerprint"]

# Schemas and privileges belong to the database, and the owner can have another name there.
_OTHERS = ("schema|", "extension|", "owner|", "privileges|")

# PostgreSQL prints `status IN ('a', 'b')` of a varchar differently after reading its own output.
_REWRITTEN = re.compile(r"::(?:character varying|bpchar|text)(?:\[\])?|[\s()]")


def read_fingerprint(connection: Connection, schemas: Collection[str]) -> str:
    """Return the fingerprint of the schemas' definitions, without owners and privileges.

    It is constant for one major version of the server. As for `read_lines`, the current transaction has an empty
    search_path from then on.
    """
    rows = connection.execute("SELECT quote_ident(each) || '.' FROM unnest(%s::text[]) each", [list(schemas)])
    inside = tuple(name for (name,) in rows)
    return digest(sorted(_REWRITTEN.sub("", line) for line in _of(read_lines(connection), inside)))


def _of(lines: Iterable[str], inside: tuple[str, ...]) -> Iterable[str]:
    for line in lines:
        kind, _, rest = line.partition("|")
        # The line of a comment begins with the kind of its object.
        named = any(f" {part}" in rest for part in inside) if kind == "comment" else rest.startswith(inside)
        if named and not line.startswith(_OTHERS):
            yield line
