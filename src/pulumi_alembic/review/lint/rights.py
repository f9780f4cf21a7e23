"""Checks of rights: grants to PUBLIC, and functions that run with their owner's rights. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi_alembic.review.lint.advice import execute
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import name_of
from pulumi_alembic.sql.parser import edited, parse, printed

__all__ = ["create_function", "grant"]


def grant(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check GRANT … TO PUBLIC."""
    public = any(grantee.roletype == "ROLESPEC_PUBLIC" for grantee in node.grantees or ())
    if node.is_grant and public:
        given = printed(node).partition(" ON ")[2].replace(" TO public", " TO PUBLIC")
        statement = f"GRANT {', '.join(map(_privilege, node.privileges or ())) or 'ALL'} ON {given}"
        instead = "# name the role that needs it\n# " + execute(statement.replace("TO PUBLIC", "TO ROLE_NAME"))
        yield Draft("grant-to-public", f"{statement} gives it to everybody", (), instead)


def _privilege(node: Any) -> str:
    columns = f" ({', '.join(quoted(column.sval) for column in node.cols)})" if node.cols else ""
    return (node.priv_name or "all").upper() + columns


def create_function(context: LintContext, node: Any) -> Iterator[Draft]:
    """Check CREATE FUNCTION … SECURITY DEFINER without its own search_path."""
    options = {option.defname: option.arg for option in node.options or () if option.defname != "set"}
    own = [option.arg.name for option in node.options or () if option.defname == "set"]
    definer = getattr(options.get("security"), "boolval", False)
    if definer and "search_path" not in own:
        name = quoted(*filter(None, name_of(node.funcname)))
        text = f"function {name} runs as its owner with its caller's search_path"
        yield Draft("security-definer-search-path", text, (), _with_path(context, node))


def _with_path(context: LintContext, node: Any) -> str:
    path = ", ".join(["pg_catalog", *context.catalog.search_path[:1], "pg_temp"])
    [example] = parse(f"CREATE FUNCTION f() RETURNS int SET search_path = {path} LANGUAGE sql AS ''")
    setting = [option for option in example.options if option.defname == "set"]
    return execute(printed(edited(node, options=[*setting, *node.options])))
