"""Effects of a text: pass each statement to the function for its kind, and report an unhandled one as unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pulumi_alembic.sql.catalog import Catalog, Relation, quoted
from pulumi_alembic.sql.effects import create, maintain, rows
from pulumi_alembic.sql.effects.alter import alter, move, rename
from pulumi_alembic.sql.effects.drops import drop, drop_owned
from pulumi_alembic.sql.effects.queries import CatalogAfter, look, visit
from pulumi_alembic.sql.locks import Effects
from pulumi_alembic.sql.parser import ParseError, edited, parse

__all__ = ["after", "effects", "play"]


def effects(sql: str, catalog: Catalog | None) -> Effects:
    """Return the effects of all statements of the text, with the strongest lock of each table, for PostgreSQL 15 to 18.

    Effects that the text does not show are in `unknown`: those of DO, functions and triggers, and of a text that
    PostgreSQL 18's parser rejects. A table that the catalog lacks is assumed to have no foreign keys, indexes or
    partitions. A change of its columns' types is assumed to rewrite it. Tables that the text itself creates are
    included. Rows that a query reads are not a scan: `scans` are tables that DDL scans.

    Args:
        sql: the text.
        catalog: before the text, with what earlier statements of the plan create (`after`). None without a database
            yet.

    """
    return _played(sql, catalog).effects()


def after(sql: str, catalog: Catalog | None) -> Catalog:
    """Return the catalog after the text, for the effects of the next one."""
    return _played(sql, catalog).catalog


def play(sql: str, catalog: Catalog | None) -> tuple[Effects, Catalog]:
    """Return both `effects` and `after` of the text, which is parsed once."""
    state = _played(sql, catalog)
    return state.effects(), state.catalog


def _played(sql: str, catalog: Catalog | None) -> CatalogAfter:
    state = CatalogAfter(catalog or Catalog())
    try:
        statements = parse(sql, shared=True)
    except ParseError as error:
        state.unknown(f"SQL that PostgreSQL 18's parser refuses: {error.args[0]}")
        return state
    for statement in statements:
        try:
            _play(state, statement)
        except RecursionError:
            state.unknown("a statement that is nested too deeply to follow")
    return state


def _play(state: CatalogAfter, node: Any) -> None:
    kind = node.tag
    if kind in _QUERIES:
        visit(state, node)
        if kind == "SelectStmt" and node.intoClause is not None:
            name = state.new_name(node.intoClause.rel)
            state.put(Relation(name))
            state.lock(name, "ACCESS EXCLUSIVE")
    elif kind in _HANDLERS:
        _HANDLERS[kind](state, node)
    elif kind not in _QUIET:
        state.unknown(_UNKNOWN.get(kind) or f"a statement of the kind {kind.removesuffix('Stmt')}")


def _create_schema(state: CatalogAfter, node: Any) -> None:
    for element in node.schemaElts or ():
        for key in ("relation", "view", "sequence"):
            relation = getattr(element, key)
            if relation is not None and not relation.schemaname:
                element = edited(element, **{key: edited(relation, schemaname=node.schemaname)})
        _play(state, element)


def _set(state: CatalogAfter, node: Any) -> None:
    values = [
        argument.val.sval for argument in node.args or () if argument.val is not None and argument.val.tag == "String"
    ]
    if node.name == "search_path":
        state.catalog = replace(state.catalog, search_path=tuple(values))
    elif node.name == "timezone":
        state.catalog = replace(state.catalog, utc=[value.upper() for value in values] == ["UTC"])


def _explain(state: CatalogAfter, node: Any) -> None:
    if any(option.defname == "analyze" for option in node.options or ()):
        _play(state, node.query)
        return
    planned = CatalogAfter(state.catalog, runs=node.query.tag == "SelectStmt")
    _play(planned, node.query)
    for lock in planned.effects().locks:
        state.lock(lock.table, lock.mode)


def _prepare(state: CatalogAfter, node: Any) -> None:
    look(state, node.query)


def _drop_database(state: CatalogAfter, node: Any) -> None:
    state.destroy(f"database {quoted(node.dbname)}")


def _drop_role(state: CatalogAfter, node: Any) -> None:
    for role in node.roles:
        state.destroy(f"role {quoted(role.rolename or '?')}")


_QUERIES = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "DeclareCursorStmt"}

_HANDLERS: dict[str, Callable[[CatalogAfter, Any], None]] = {
    "AlterDomainStmt": maintain.alter_domain,
    "AlterObjectSchemaStmt": move,
    "AlterPolicyStmt": create.create_policy,
    "AlterSeqStmt": create.create_sequence,
    "AlterTableStmt": alter,
    "ClusterStmt": maintain.cluster,
    "CommentStmt": maintain.comment,
    "CompositeTypeStmt": create.create_type,
    "CopyStmt": rows.copy,
    "CreateDomainStmt": create.create_domain,
    "CreateEnumStmt": create.create_type,
    "CreateForeignTableStmt": lambda state, node: create.create_table(state, node.base),
    "CreateFunctionStmt": create.create_function,
    "CreatePolicyStmt": create.create_policy,
    "CreateRangeStmt": create.create_type,
    "CreateSchemaStmt": _create_schema,
    "CreateSeqStmt": create.create_sequence,
    "CreateStatsStmt": create.create_statistics,
    "CreateStmt": create.create_table,
    "CreateTableAsStmt": create.create_as,
    "CreateTrigStmt": create.create_trigger,
    "DropOwnedStmt": drop_owned,
    "DropRoleStmt": _drop_role,
    "DropStmt": drop,
    "DropdbStmt": _drop_database,
    "ExplainStmt": _explain,
    "IndexStmt": create.create_index,
    "LockStmt": rows.lock_table,
    "PrepareStmt": _prepare,
    "RefreshMatViewStmt": maintain.refresh,
    "ReindexStmt": maintain.reindex,
    "RenameStmt": rename,
    "RuleStmt": create.create_rule,
    "SecLabelStmt": maintain.comment,
    "TruncateStmt": rows.truncate,
    "VacuumStmt": maintain.vacuum,
    "VariableSetStmt": _set,
    "ViewStmt": create.create_view,
}

# These statements affect no table and delete nothing.
_QUIET = {
    "AlterCollationStmt", "AlterDatabaseRefreshCollStmt", "AlterDatabaseSetStmt", "AlterDatabaseStmt",
    "AlterDefaultPrivilegesStmt", "AlterEnumStmt", "AlterFunctionStmt", "AlterObjectDependsStmt", "AlterOwnerStmt",
    "AlterRoleSetStmt", "AlterRoleStmt", "AlterStatsStmt", "AlterTSConfigurationStmt", "AlterTSDictionaryStmt",
    "AlterTypeStmt", "CheckPointStmt", "ClosePortalStmt", "ConstraintsSetStmt", "CreateAmStmt", "CreateCastStmt",
    "CreateConversionStmt", "CreateEventTrigStmt", "CreateExtensionStmt", "CreateFdwStmt", "CreateForeignServerStmt",
    "CreateOpClassStmt", "CreateOpFamilyStmt", "CreatePLangStmt", "CreateRoleStmt", "CreateTableSpaceStmt",
    "CreateTransformStmt", "CreateUserMappingStmt", "CreatedbStmt", "DeallocateStmt", "DefineStmt", "DiscardStmt",
    "FetchStmt", "GrantRoleStmt", "GrantStmt", "ListenStmt", "NotifyStmt", "TransactionStmt", "UnlistenStmt",
    "VariableShowStmt", "AlterEventTrigStmt", "AlterFdwStmt", "AlterForeignServerStmt", "AlterOpFamilyStmt",
    "AlterOperatorStmt", "AlterUserMappingStmt", "DropUserMappingStmt",
}  # fmt: skip

_UNKNOWN = {
    "AlterExtensionStmt": "the script of an extension's update",
    "CallStmt": "CALL of a procedure",
    "DoStmt": "DO block",
    "ExecuteStmt": "EXECUTE of a prepared statement",
    "ReassignOwnedStmt": "every object of a role",
}
