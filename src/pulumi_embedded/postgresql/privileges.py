"""The privileges of each type of object, and their comparison."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pulumi_embedded.postgresql.connection import Work
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.membership import database_exists, role_exists, schema_exists
from pulumi_embedded.postgresql.properties import Change

__all__ = ["PUBLIC", "WITHOUT_SCHEMA", "drifted", "grantee", "scope_exists", "validate", "words"]

PUBLIC = "public"

_ALLOWED = {
    "database": ("CREATE", "CONNECT", "TEMPORARY"),
    "table": ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"),
    "sequence": ("USAGE", "SELECT", "UPDATE"),
    "schema": ("CREATE", "USAGE"),
    "function": ("EXECUTE",),
    "procedure": ("EXECUTE",),
    "routine": ("EXECUTE",),
    "type": ("USAGE",),
    "foreign_data_wrapper": ("USAGE",),
    "foreign_server": ("USAGE",),
    "column": ("SELECT", "INSERT", "UPDATE", "REFERENCES"),
}
# Object types whose grants are in no schema.
WITHOUT_SCHEMA = ("database", "foreign_data_wrapper", "foreign_server")


def _all(version: int, object_type: str) -> set[str]:
    maintain = {"MAINTAIN"} if object_type == "table" and version >= 170000 else set()
    return maintain | set(_ALLOWED[object_type])


def validate(change: Change, version: int) -> None:
    """Raise ProviderError for a privilege that this type of object does not have."""
    allowed = _all(version, change["objectType"]) | {"ALL"}
    for privilege in change["privileges"]:
        if privilege not in allowed:
            raise ProviderError(f"{privilege} is not an allowed privilege for object type {change['objectType']}")


def words(privileges: Iterable[str]) -> str:
    """Return privileges as SQL. They cannot be quoted, so only plain words are accepted."""
    chosen = list(privileges)
    for privilege in chosen:
        if not re.fullmatch("[A-Z]+", privilege):
            raise ProviderError(f"{privilege} is not a privilege")
    return ",".join(chosen)


def drifted(change: Change, granted: Iterable[str], version: int) -> bool:
    """Return whether `granted` differs from the wanted privileges. "ALL" means all of this type of object."""
    have, wanted = set(granted), set(change["privileges"])
    return have != wanted and not ("ALL" in wanted and have == _all(version, change["objectType"]))


def grantee(work: Work, role: str) -> int:
    """Return the role's oid in access lists, which is 0 for PUBLIC."""
    row = None if role == PUBLIC else work.row("SELECT oid FROM pg_roles WHERE rolname = %s", [role])
    if row is None and role != PUBLIC:
        raise ProviderError(f"could not find oid for role {role}: sql: no rows in result set")
    return row[0] if row else 0


def scope_exists(change: Change, direct: Work) -> bool:
    """Return whether the grant's database, role and schema exist. Without one of them the grant is gone."""
    if not database_exists(direct, change["database"]):
        return False
    work = direct.session.direct(change["database"])
    schema = "" if change["objectType"] in WITHOUT_SCHEMA else change["schema"]
    return (change["role"] == PUBLIC or role_exists(work, change["role"])) and (
        not schema or schema_exists(work, schema)
    )
