"""A role as the catalogs have it: attributes, memberships, and the settings of its sessions."""

from __future__ import annotations

import hashlib
from typing import Any

from pulumi_embedded.postgresql.connection import Session
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.kind import Found
from pulumi_embedded.postgresql.properties import Change, Values

__all__ = ["TIMEOUTS", "read_role"]

# Property → setting.
TIMEOUTS = {
    "statementTimeout": "statement_timeout",
    "idleInTransactionSessionTimeout": "idle_in_transaction_session_timeout",
}

_COLUMNS = {
    "name": "rolname",
    "superuser": "rolsuper",
    "inherit": "rolinherit",
    "createRole": "rolcreaterole",
    "createDatabase": "rolcreatedb",
    "login": "rolcanlogin",
    "connectionLimit": "rolconnlimit",
    "validUntil": "COALESCE(rolvaliduntil::text, 'infinity')",
    "replication": "rolreplication",
    "bypassRowLevelSecurity": "rolbypassrls",
    "roles": "ARRAY(SELECT DISTINCT pg_get_userbyid(roleid)::text FROM pg_auth_members WHERE member = pg_roles.oid)",
    "settings": "COALESCE(rolconfig, '{}')",
}


def read_role(session: Session, name: str, state: Change) -> Found | None:
    """The role `name`, or None where there is none."""
    query = f"SELECT {', '.join(_COLUMNS.values())} FROM pg_roles WHERE rolname = %s"  # noqa: S608
    row = session.direct().row(query, [name], "error reading ROLE")
    if row is None:
        return None
    values: Values = dict(zip(_COLUMNS, row, strict=True))
    values |= _settings(dict(setting.split("=", 1) for setting in values.pop("settings")))
    values |= {"roles": sorted(values["roles"]), "encryptedPassword": True}
    values |= {key: state[key] for key in ("skipDropRole", "skipReassignOwned")}
    if session.configuration.superuser and state["password"] and values["login"]:
        values["password"] = _stored_password(session, name, state["password"])
    return Found(name, values)


def _settings(settings: dict[str, str]) -> Values:
    path = settings.get("search_path")
    timeouts: dict[str, Any] = {key: int(settings.get(setting, 0)) for key, setting in TIMEOUTS.items()}
    return timeouts | {
        "searchPaths": [part.strip('"') for part in path.split(", ")] if path else [],
        "assumeRole": settings.get("role", ""),
    }


def _stored_password(session: Session, name: str, known: str) -> str:
    """`known` where the server's hash does not contradict it; only a superuser can read that hash."""
    work, user = session.direct(), session.configuration.database_username
    if not work.rows("SELECT rolsuper FROM pg_roles WHERE rolname = CURRENT_USER")[0][0]:
        raise ProviderError(
            f"could not read role password from Postgres as connected user {user} is not a SUPERUSER. You can set "
            "`superuser = false` in the provider configuration so it will not try to read the password from Postgres"
        )
    row = work.row("SELECT COALESCE(passwd, '') FROM pg_shadow WHERE usename = %s", [name])
    stored = str(row[0]) if row else ""
    hashed = "md5" + hashlib.md5((known + name).encode()).hexdigest()  # noqa: S324
    return known if stored.startswith("SCRAM-SHA-256") or stored == hashed else stored
