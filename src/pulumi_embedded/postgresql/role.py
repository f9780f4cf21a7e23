"""The resource Role: a login or a group, with its memberships and its session settings."""

from __future__ import annotations

import hashlib
from typing import Any

from psycopg import sql

from pulumi_embedded.postgresql.connection import Session, Work, identifier, literal
from pulumi_embedded.postgresql.errors import ProviderError
from pulumi_embedded.postgresql.kind import Found, Kind, rename, there
from pulumi_embedded.postgresql.membership import lock_role, name_of, oid_of, with_roles
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type, Values

__all__ = ["TIMEOUTS", "Role", "read_role"]

_FLAG = Property(Type.BOOL, default=False)
_TIMEOUT = Property(Type.INT, minimum=0)

# Property → option, in the order in which the real plugin applies and reports them.
_FLAGS = {
    "superuser": "SUPERUSER",
    "createDatabase": "CREATEDB",
    "createRole": "CREATEROLE",
    "inherit": "INHERIT",
    "login": "LOGIN",
    "bypassRowLevelSecurity": "BYPASSRLS",
    "replication": "REPLICATION",
}
_UPDATE_ORDER = ("createDatabase", "createRole", "inherit", "login", "replication", "superuser")


class Role(Kind):
    """A role. It is renamed in place, which changes its id. An update gives it exactly the memberships in `roles`."""

    token = "postgresql:index/role:Role"  # noqa: S105
    schema = Schema(
        name=Property(autonamed=True),
        password=Property(secret=True, unread=True, conflicts=("passwordWo", "passwordWoVersion")),
        passwordWo=Property(secret=True, write_only=True, conflicts=("password",), together=("passwordWoVersion",)),
        passwordWoVersion=Property(unread=True, conflicts=("password",), together=("passwordWo",)),
        encrypted=Property(),
        roles=Property(Type.SET),
        searchPaths=Property(Type.LIST, upstream="search_path"),
        encryptedPassword=Property(Type.BOOL, default=True),
        validUntil=Property(default="infinity"),
        connectionLimit=Property(Type.INT, default=-1, minimum=-1),
        superuser=_FLAG,
        createDatabase=_FLAG,
        createRole=_FLAG,
        login=_FLAG,
        replication=_FLAG,
        inherit=Property(Type.BOOL, default=True),
        bypassRowLevelSecurity=_FLAG,
        skipDropRole=_FLAG,
        skipReassignOwned=_FLAG,
        idleInTransactionSessionTimeout=_TIMEOUT,
        statementTimeout=_TIMEOUT,
        assumeRole=Property(),
    )

    def identified(self, resource_id: str, state: Values) -> Values:
        """Return the state with the name from its outputs: a rename in place does not change the resource's id."""
        return state | {"name": state.get("id") or resource_id} if state else state

    def create(self, session: Session, change: Change) -> Found:
        """Create the role with its memberships and settings, in one transaction."""
        name = change["name"]
        with session.transaction() as work:
            options = sql.SQL(" ").join(_creation_options(work, change))
            work.run("CREATE ROLE {} WITH {}", identifier(name), options, what=f"error creating role {name}")
            session.mark = oid_of(work, "pg_roles", name)
            _grant(work, change)
            _apply_settings(work, change)
        return there(read_role(session, name, change), "role", name)

    def creation(self, session: Session, change: Change) -> Found | None:
        """Return the role of the lost transaction, not another one with its name."""
        name = name_of(session.direct(), "pg_roles", session.mark)
        return read_role(session, name, change) if name else None

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the role by its name."""
        return read_role(session, state["name"] or resource_id, state)

    def left(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the role by its oid, because a lost transaction can have renamed it."""
        name = name_of(session.direct(), "pg_roles", session.mark)
        return read_role(session, name, state) if name else None

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Make all changes in one transaction."""
        session.mark = oid_of(session.direct(), "pg_roles", change.old("name"))
        with session.transaction() as work:
            lock_role(work, change.old("name"))
            rename(work, change, "role", "NAME")
            _set_password(work, change)
            _set_attributes(work, change)
            _revoke(work, change["name"])
            _grant(work, change)
            _apply_settings(work, change)
        return there(read_role(session, change["name"], change), "role", change["name"])

    def delete(self, session: Session, state: Change) -> None:
        """Drop the role. The connected user first gets its databases, and its objects in the provider's database."""
        name, heir = state["name"], session.configuration.database_username
        with session.transaction() as work:
            lock_role(work, name)
            if not state["skipReassignOwned"]:
                with with_roles(work, [name]):
                    text = f"could not reassign owned by role {name} to {heir}"
                    work.run("REASSIGN OWNED BY {} TO {}", identifier(name), identifier(heir), what=text)
                    text = f"could not drop owned by role {name}"
                    work.run("DROP OWNED BY {}", identifier(name), what=text)
            if not state["skipDropRole"]:
                work.run("DROP ROLE {}", identifier(name), what=f"could not delete role {name}")


def _creation_options(work: Work, change: Change) -> list[sql.Composable]:
    options: list[sql.Composable] = []
    password = change["password"] or change.given("passwordWo")
    if password.upper() == "NULL":
        options.append(sql.SQL("PASSWORD NULL"))
    elif password:
        how = "ENCRYPTED" if change["encryptedPassword"] else "UNENCRYPTED"
        options.append(sql.SQL(how + " PASSWORD {}").format(work.verifier(change["name"], password)))
    if change["validUntil"]:
        options.append(sql.SQL("VALID UNTIL {}").format(literal(_instant(change["validUntil"]))))
    options.append(sql.SQL("CONNECTION LIMIT {}").format(literal(change["connectionLimit"])))
    return options + [_flag(change, name) for name in _FLAGS]


def _flag(change: Change, name: str) -> sql.SQL:
    return sql.SQL(("" if change[name] else "NO") + _FLAGS[name])


def _instant(text: str) -> str:
    return "infinity" if text.lower() == "infinity" else text


def _set_password(work: Work, change: Change) -> None:
    """Set the password. A rename sets it again, because an MD5 hash contains the name."""
    write_only = change.given("passwordWo")
    due = change.changed("passwordWoVersion") if write_only else change.changed("password", "name")
    password = write_only or change["password"]
    if due and password:
        parts = identifier(change["name"]), work.verifier(change["name"], password)
        work.run("ALTER ROLE {} PASSWORD {}", *parts, what="error updating role password")


def _set_attributes(work: Work, change: Change) -> None:
    role = identifier(change["name"])
    limit, until = literal(change["connectionLimit"]), literal(_instant(change["validUntil"]))
    _set_flag(work, change, "bypassRowLevelSecurity")
    if change.changed("connectionLimit"):
        work.run("ALTER ROLE {} CONNECTION LIMIT {}", role, limit, what="error updating role CONNECTION LIMIT")
    for name in _UPDATE_ORDER:
        _set_flag(work, change, name)
    if change.changed("validUntil") and change["validUntil"]:
        work.run("ALTER ROLE {} VALID UNTIL {}", role, until, what="error updating role VALID UNTIL")


def _set_flag(work: Work, change: Change, name: str) -> None:
    if change.changed(name):
        parts = identifier(change["name"]), _flag(change, name)
        work.run("ALTER ROLE {} WITH {}", *parts, what=f"error updating role {_FLAGS[name]}")


def _revoke(work: Work, role: str) -> None:
    query = (
        "SELECT DISTINCT pg_get_userbyid(roleid) FROM pg_auth_members"
        " JOIN pg_roles ON member = pg_roles.oid WHERE rolname = %s"
    )
    for (granted,) in work.rows(query, [role]):
        text = f"could not revoke role {granted} from {role}"
        work.run("REVOKE {} FROM {}", identifier(granted), identifier(role), what=text)


def _grant(work: Work, change: Change) -> None:
    for granted in change["roles"]:
        text = f"could not grant role {granted} to {change['name']}"
        work.run("GRANT {} TO {}", identifier(granted), identifier(change["name"]), what=text)


def _apply_settings(work: Work, change: Change) -> None:
    name, role = change["name"], identifier(change["name"])
    for path in change["searchPaths"]:
        if ", " in path:
            raise ProviderError(f"search_path cannot contain `, `: {path}")
    paths = sql.SQL(", ").join(map(identifier, change["searchPaths"])) if change["searchPaths"] else sql.SQL("DEFAULT")
    text = f"could not set search_path {paths.as_string()} for {name}"
    work.run("ALTER ROLE {} SET search_path TO {}", role, paths, what=text)
    for key, setting in TIMEOUTS.items():
        if change.changed(key) and change[key]:
            text = f"could not set {setting} {change[key]} for {name}"
            work.run("ALTER ROLE {} SET " + setting + " TO {}", role, literal(change[key]), what=text)
        elif change.changed(key):
            work.run("ALTER ROLE {} RESET " + setting, role, what=f"could not reset {setting} for {name}")
    if change.changed("assumeRole") and change["assumeRole"]:
        text = f"could not set role {change['assumeRole']} for {name}"
        work.run("ALTER ROLE {} SET ROLE TO {}", role, identifier(change["assumeRole"]), what=text)
    elif change.changed("assumeRole"):
        work.run("ALTER ROLE {} RESET ROLE", role, what=f"could not reset role for {name}")


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
    """Return the role `name`. None if there is none."""
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
    """Return `known` if the server's hash does not contradict it. Only a superuser can read that hash."""
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
