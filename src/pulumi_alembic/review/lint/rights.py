"""Who may do what: rights that everybody gets, and functions that run with their owner's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi_alembic.review.lint.advice import execute
from pulumi_alembic.review.lint.context import Draft, Sight
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import name_of
from pulumi_alembic.sql.parser import edited, parse, printed

__all__ = ["create_function", "grant"]


def grant(sight: Sight, node: Any) -> Iterator[Draft]:
    """GRANT … TO PUBLIC."""
    public = any(each.roletype == "ROLESPEC_PUBLIC" for each in node.grantees or ())
    if node.is_grant and public:
        given = printed(node).partition(" ON ")[2].replace(" TO public", " TO PUBLIC")
        said = f"GRANT {', '.join(map(_privilege, node.privileges or ())) or 'ALL'} ON {given}"
        instead = "# name the role that needs it\n# " + execute(said.replace("TO PUBLIC", "TO ROLE_NAME"))
        yield Draft("grant-to-public", f"{said} gives it to everybody", (), instead)


def _privilege(node: Any) -> str:
    columns = f" ({', '.join(quoted(each.sval) for each in node.cols)})" if node.cols else ""
    return (node.priv_name or "all").upper() + columns


def create_function(sight: Sight, node: Any) -> Iterator[Draft]:
    """CREATE FUNCTION … SECURITY DEFINER without a search_path of its own."""
    options = {each.defname: each.arg for each in node.options or () if each.defname != "set"}
    own = [each.arg.name for each in node.options or () if each.defname == "set"]
    definer = getattr(options.get("security"), "boolval", False)
    if definer and "search_path" not in own:
        name = quoted(*filter(None, name_of(node.funcname)))
        what = f"function {name} runs as its owner with its caller's search_path"
        yield Draft("security-definer-search-path", what, (), _with_path(sight, node))


def _with_path(sight: Sight, node: Any) -> str:
    path = ", ".join(["pg_catalog", *sight.catalog.search_path[:1], "pg_temp"])
    [example] = parse(f"CREATE FUNCTION f() RETURNS int SET search_path = {path} LANGUAGE sql AS ''")
    setting = [each for each in example.options if each.defname == "set"]
    return execute(printed(edited(node, options=[*setting, *node.options])))
