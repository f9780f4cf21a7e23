"""Prevent a rehearsed script from changing anything outside of the scratch database."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from pulumi_alembic.errors import NotRehearsed
from pulumi_alembic.review.rendering.influences import watched
from pulumi_alembic.sql.outside_transaction import ends_transaction
from pulumi_alembic.sql.parser import Node, ParseError, nodes, parse

__all__ = ["SHARED", "kept_inside", "refuse_shared"]

SHARED = frozenset(
    {
        "pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_parameter_acl",
        "pg_replication_origin", "pg_shdescription", "pg_shseclabel", "pg_subscription", "pg_tablespace",
    }
)  # fmt: skip
"""The catalogs that all databases of a server share. A change locks the catalog until its transaction ends."""

# Statements about roles, databases and tablespaces. A statement of another kind names its kind of object: _OBJECTS.
_KINDS = {
    "AlterDatabaseRefreshCollStmt", "AlterDatabaseSetStmt", "AlterDatabaseStmt", "AlterRoleSetStmt", "AlterRoleStmt",
    "AlterSubscriptionStmt", "AlterSystemStmt", "CreateRoleStmt", "CreateSubscriptionStmt", "CreateTableSpaceStmt",
    "CreatedbStmt", "DropOwnedStmt", "DropRoleStmt", "DropSubscriptionStmt", "DropTableSpaceStmt", "DropdbStmt",
    "GrantRoleStmt", "ReassignOwnedStmt", "AlterTableSpaceOptionsStmt",
}  # fmt: skip
_OBJECTS = {"OBJECT_DATABASE", "OBJECT_ROLE", "OBJECT_TABLESPACE", "OBJECT_SUBSCRIPTION", "OBJECT_PARAMETER_ACL"}
_OPAQUE = {"DoStmt", "CallStmt", "SelectStmt", "ExecuteStmt"}
_BODIES = {"DoStmt", "CreateFunctionStmt"}

# Functions of PostgreSQL 13 to 18 that act on other sessions, the server's log, WAL, slots and files, or other servers.
_REACHING = re.compile(
    r"(?i)\b(?:pg_(?:terminate_backend|cancel_backend|reload_conf|rotate_logfile|log_backend_memory_contexts|switch_wal"
    r"|create_restore_point|promote|(?:start|stop)_backup|backup_(?:start|stop)|wal_replay_(?:pause|resume)"
    r"|(?:create|copy|drop)_(?:physical_|logical_)?replication_slot|replication_(?:slot_advance|origin)\w*"
    r"|logical_emit_message|stat_reset_(?:shared|slru)|file_(?:write|sync|rename|unlink))|lo_(?:export|import)|dblink\w*)\b"
)

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_READS = {
    "access", "cpu_count", "fspath", "fstat", "get_terminal_size", "getcwd", "geteuid", "getpid", "getppid",
    "getrandom", "getuid", "isatty", "listdir", "lstat", "readlink", "scandir", "sched_getaffinity", "stat", "times",
    "uname", "urandom",
}  # fmt: skip
_EVENTS = ("ctypes.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "subprocess.", "socket.connect")
_OUTSIDE = (
    "a connection of its own", "the network", "another program", "another database", "another thread",
    "another interpreter",
    # A sleeping script cannot be ended in time.
    "the time (sleep)",
)  # fmt: skip

_rehearsing = threading.local()


def refuse_shared(sql: str, *, outside: bool = False) -> None:
    """Reject SQL that changes what all databases share, or other sessions.

    A change that the text does not show is found by its locks before it is committed. Outside of a transaction that
    is too late, so text that hides what it does is rejected there.

    Args:
        sql: The text of one or more statements.
        outside: Whether the text runs outside of a transaction.

    Raises:
        NotRehearsed: The text was not sent.

    """
    try:
        statements = parse(sql)
    except ParseError:
        # The server can accept syntax that this parser does not know.
        if outside or ends_transaction(sql):
            raise NotRehearsed("a statement that cannot be understood ends its transaction") from None
        if called := _REACHING.search(sql):
            raise NotRehearsed(f"it calls {called[0]}, which reaches outside of its database") from None
        return
    _refuse_reaching(sql, statements)
    kinds = {statement.tag for statement in statements}
    for statement in statements:
        about = {statement.objtype, statement.objectType, statement.renameType, statement.object_type}
        if statement.tag in _KINDS or about & _OBJECTS:
            raise NotRehearsed("it changes what all databases of the server have in common, roles or databases")
    if kinds & _OPAQUE and "TransactionStmt" in kinds and ends_transaction(sql):
        raise NotRehearsed("a text ends its transaction behind a statement that does not show what it does")
    if outside and kinds & (_OPAQUE - {"SelectStmt"}):
        raise NotRehearsed("a statement outside of its transaction does not show what it does")


def _refuse_reaching(sql: str, statements: list[Node]) -> None:
    if not (named := _REACHING.search(sql)):
        return
    called: list[str] = [named[0]] if any(statement.tag in _BODIES for statement in statements) else []
    for call in nodes(statements, "FuncCall"):
        called += _REACHING.findall(call.funcname[-1].sval)
    if called:
        raise NotRehearsed(f"it calls {called[0]}, which reaches outside of its database")


@contextmanager
def kept_inside(paths: Collection[str]) -> Iterator[None]:
    """Prevent the scripts at these paths from acting outside of their session within the block. They can read.

    Raises:
        NotRehearsed: A script opens a connection, uses the network, starts a program or a thread, changes a file, or
            sleeps. The action did not happen.

    """
    _install()

    def refuse(what: str) -> None:
        verb, _, read = what.partition(" ")
        harms = read.startswith("the system (") and read[len("the system (") : -1] not in _READS
        if harms or read.startswith(_OUTSIDE):
            raise NotRehearsed(f"{verb} {read}".replace("reads", "uses"))

    _rehearsing.paths = paths
    try:
        with watched(paths, refuse):
            yield
    finally:
        _rehearsing.paths = ()


def _install() -> None:
    """Add the audit hook once. Only audit events show that a file is opened for writing, and a hook stays for ever."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_audit)


_installed = False


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not (event == "open" or event.startswith(_EVENTS)) or not (paths := getattr(_rehearsing, "paths", ())):
        return
    if event != "open":
        if _is_behind(paths):
            raise NotRehearsed(f"uses the system ({event})")
        return
    _, mode, flags = args
    changes = set(mode or "") & set("wax+") or (isinstance(flags, int) and flags & _WRITES)
    if changes and _is_behind(paths):
        raise NotRehearsed("uses a file, and would change it")


def _is_behind(paths: Collection[str]) -> bool:
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file in paths:
            return True
        if file.startswith("<frozen importlib"):
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False
