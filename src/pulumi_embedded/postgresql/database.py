"""The resource Database. PostgreSQL creates, changes and drops databases outside of transactions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

from psycopg import sql

from pulumi_embedded.postgresql.connection import Session, Work, identifier, literal
from pulumi_embedded.postgresql.errors import ConnectionLost, ProviderError
from pulumi_embedded.postgresql.kind import Found, Kind, rename, there
from pulumi_embedded.postgresql.membership import (
    database_exists,
    database_owner,
    lock_role,
    lock_user,
    membership,
    name_of,
    oid_of,
)
from pulumi_embedded.postgresql.properties import Change, Property, Schema, Type, Values

__all__ = ["Database"]

_DECIDED = Property(computed=True)
_FIXED = Property(computed=True, replaces=True)


class Database(Kind):
    """A database. It is renamed in place, which changes its id. Its encoding, locale and template never change."""

    token = "postgresql:index/database:Database"  # noqa: S105
    schema = Schema(
        name=Property(autonamed=True),
        owner=_DECIDED,
        template=_FIXED,
        encoding=_FIXED,
        lcCollate=_FIXED,
        lcCtype=_FIXED,
        tablespaceName=_DECIDED,
        connectionLimit=Property(Type.INT, default=-1, minimum=-1),
        allowConnections=Property(Type.BOOL, default=True),
        isTemplate=Property(Type.BOOL, computed=True),
        alterObjectOwnership=Property(Type.BOOL, default=False),
    )

    def identified(self, resource_id: str, state: Values) -> Values:
        """Return the state with the name from its outputs, as for a role: the id in the outputs is the newest."""
        return state | {"name": state.get("id") or resource_id} if state else state

    def create(self, session: Session, change: Change) -> Found:
        """Create the database. The connected user becomes a member of the owner for the statement, if needed."""
        name, work = change["name"], session.direct()
        session.mark = oid_of(work, "pg_database", name)
        with _owning(work, change["owner"]):
            work.run("CREATE DATABASE {}{}", identifier(name), _options(session, change), what=_creating(name))
        return there(_read(session, name, change), "database", name)

    def creation(self, session: Session, change: Change) -> Found | None:
        """Return the database with this name and owner, if none had the name before. Nothing else can be checked."""
        database = _read(session, change["name"], change)
        owner = change["owner"] or session.configuration.database_username
        return database if database and session.mark is None and database.values["owner"] == owner else None

    def read(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the database by its name."""
        return _read(session, state["name"] or resource_id, state)

    def left(self, session: Session, resource_id: str, state: Change) -> Found | None:
        """Read the database by its oid, because a statement whose answer was lost can have renamed it."""
        name = name_of(session.direct(), "pg_database", session.mark)
        return _read(session, name, state) if name else None

    def update(self, session: Session, resource_id: str, change: Change) -> Found:
        """Change the database. Each change takes effect at once. After a failure the previous changes remain."""
        work = session.direct()
        session.mark = oid_of(work, "pg_database", change.old("name"))
        rename(work, change, "database", "name")
        _hand_over_objects(session, change)
        _set_owner(work, change)
        _set_options(work, change)
        return there(_read(session, change["name"], change), "database", change["name"])

    def delete(self, session: Session, state: Change) -> None:
        """Close the database, end its sessions and drop it. If that fails, open it again, as the state requires."""
        work, name = session.direct(), state["name"]
        with _owning(work, state["owner"]), _open_again(work, state):
            if state["isTemplate"]:
                text = "error updating database IS_TEMPLATE during DROP DATABASE"
                work.run("ALTER DATABASE {} IS_TEMPLATE false", identifier(name), what=text)
            text = "error blocking connections to database"
            work.run("ALTER DATABASE {} ALLOW_CONNECTIONS false", identifier(name), what=text)
            query = (
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
            )
            work.rows(query, [name], "error terminating database connections")
            force = " WITH (FORCE)" if session.version >= 130000 else ""
            work.run("DROP DATABASE {}" + force, identifier(name), what="error dropping database")


@contextmanager
def _open_again(work: Work, state: Change) -> Iterator[None]:
    """After a failure in the block, restore that the database is a template and accepts connections, as in `state`."""
    try:
        yield
    except ProviderError as error:
        with suppress(ProviderError):
            if isinstance(error, ConnectionLost):
                work.session.settle()
            if database_exists(work, state["name"]):
                for key, option in (("isTemplate", "IS_TEMPLATE"), ("allowConnections", "ALLOW_CONNECTIONS")):
                    if state[key]:
                        work.run("ALTER DATABASE {} " + option + " true", identifier(state["name"]))
        raise


def _creating(name: str) -> str:
    return f'error creating database "{name}"'


def _owning(work: Work, owner: str) -> AbstractContextManager[None]:
    """Return a context in which the connected user is a member of the owner. One plugin at a time can enter it."""
    if not owner:
        return nullcontext()
    user = work.session.configuration.database_username
    lock_user(work, user)
    return membership(work, owner, user)


def _options(session: Session, change: Change) -> sql.Composable:
    owner = change["owner"] or session.configuration.database_username
    options = [
        sql.SQL(" OWNER {}").format(identifier(owner)),
        _option("TEMPLATE", change["template"], identifier) or sql.SQL(" TEMPLATE template0"),
        _option("ENCODING", change["encoding"], literal) or sql.SQL(" ENCODING 'UTF8'"),
        _option("LC_COLLATE", change["lcCollate"], literal),
        _option("LC_CTYPE", change["lcCtype"], literal),
        _option("TABLESPACE", change["tablespaceName"], identifier),
        sql.SQL(" ALLOW_CONNECTIONS {}").format(literal(change["allowConnections"])),
        sql.SQL(" CONNECTION LIMIT {}").format(literal(change["connectionLimit"])),
        sql.SQL(" IS_TEMPLATE {}").format(literal(change["isTemplate"])),
    ]
    return sql.SQL("").join(option for option in options if option is not None)


def _option(keyword: str, value: str, quoted: type[sql.Identifier] | type[sql.Literal]) -> sql.Composable | None:
    if not value:
        return None
    return sql.SQL(f" {keyword} {{}}").format(sql.SQL("DEFAULT") if value.upper() == "DEFAULT" else quoted(value))


def _hand_over_objects(session: Session, change: Change) -> None:
    """With `alterObjectOwnership`, give the old owner's objects in the database to the new owner."""
    name, owner = change["name"], change["owner"]
    if not (change.changed("owner", "alterObjectOwnership") and owner and change["alterObjectOwnership"]):
        return
    direct, user = session.direct(), session.configuration.database_username
    current = database_owner(direct, name)
    if current == owner:
        return
    with membership(direct, current, user), session.transaction(name) as work:
        lock_role(work, user)
        text = f"error reassigning objects owned by '{current}'"
        work.run("REASSIGN OWNED BY {} TO {}", identifier(current), identifier(owner), what=text)


def _set_owner(work: Work, change: Change) -> None:
    if not (change.changed("owner") and change["owner"]):
        return
    parts = identifier(change["name"]), identifier(change["owner"])
    with _owning(work, change["owner"]):
        work.run("ALTER DATABASE {} OWNER TO {}", *parts, what="error updating database OWNER")


def _set_options(work: Work, change: Change) -> None:
    name, space = identifier(change["name"]), change["tablespaceName"]
    if change.changed("tablespaceName"):
        chosen = sql.SQL("pg_default") if space.upper() in ("", "DEFAULT") else identifier(space)
        work.run("ALTER DATABASE {} SET TABLESPACE {}", name, chosen, what="error updating database TABLESPACE")
    for key, option in (
        ("connectionLimit", "CONNECTION LIMIT"),
        ("allowConnections", "ALLOW_CONNECTIONS"),
        ("isTemplate", "IS_TEMPLATE"),
    ):
        if change.changed(key):
            text = f"error updating database {option}"
            work.run("ALTER DATABASE {} " + option + " {}", name, literal(change[key]), what=text)


_COLUMNS = {
    "name": "datname",
    "owner": "pg_get_userbyid(datdba)",
    "encoding": "pg_encoding_to_char(encoding)",
    "lcCollate": "datcollate",
    "lcCtype": "datctype",
    "tablespaceName": "spcname",
    "connectionLimit": "datconnlimit",
    "allowConnections": "datallowconn",
    "isTemplate": "datistemplate",
}


def _read(session: Session, name: str, state: Change) -> Found | None:
    columns = ", ".join(f"{expression}" for expression in _COLUMNS.values())
    query = f"SELECT {columns} FROM pg_database JOIN pg_tablespace ts ON dattablespace = ts.oid"  # noqa: S608
    row = session.direct().row(f"{query} WHERE datname = %s", [name], "error reading database")
    if row is None:
        return None
    values = dict(zip(_COLUMNS, row, strict=True)) | {"template": state["template"] or "template0"}
    return Found(name, values)
