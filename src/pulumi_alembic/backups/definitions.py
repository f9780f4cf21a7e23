"""The fingerprint of a backup: of what its schemas define, by words that a dump and its restore leave as they are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from pulumi_alembic.database.fingerprint import digest, read_lines

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["read_fingerprint"]

# The schemas and their rights stay those of the database, and an owner there has another name.
_OTHERS = ("schema|", "extension|", "owner|", "privileges|")

# PostgreSQL prints `status IN ('a', 'b')` of a varchar in one way, and in another once it has read that again.
_REWRITTEN = re.compile(r"::(?:character varying|bpchar|text)(?:\[\])?|[\s()]")


def read_fingerprint(connection: Connection, schemas: Collection[str]) -> str:
    """Of all that these schemas define but owners and rights; the same as long as the server's major version is.

    Read as `read_lines` does: in the connection's transaction, whose search_path is empty from here on.
    """
    rows = connection.execute("SELECT quote_ident(each) || '.' FROM unnest(%s::text[]) each", [list(schemas)])
    inside = tuple(name for (name,) in rows)
    return digest(sorted(_REWRITTEN.sub("", line) for line in _of(read_lines(connection), inside)))


def _of(lines: Iterable[str], inside: tuple[str, ...]) -> Iterable[str]:
    for line in lines:
        kind, _, rest = line.partition("|")
        # A comment's begins with the kind of what it is on.
        named = any(f" {part}" in rest for part in inside) if kind == "comment" else rest.startswith(inside)
        if named and not line.startswith(_OTHERS):
            yield line
