"""Who may do what: rights that everybody gets, and functions that run with their owner's. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi_alembic.review.lint.advice import execute, text
from pulumi_alembic.review.lint.context import Draft, Sight
from pulumi_alembic.sql.catalog import quoted
from pulumi_alembic.sql.effects.queries import name_of

__all__ = ["create_function", "grant"]


def grant(sight: Sight, node: Any) -> Iterator[Draft]:
    """GRANT … TO PUBLIC."""
    public = any(each.roletype.name == "ROLESPEC_PUBLIC" for each in node.grantees or ())
    if node.is_grant and public:
        said = " ".join(text(node).split())
        instead = "# name the role that needs it\n# " + execute(said.replace("TO PUBLIC", "TO ROLE_NAME"))
        yield Draft("grant-to-public", f"{said} gives it to everybody", (), instead)


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
    from pglast import parse_sql

    path = ", ".join(["pg_catalog", *sight.catalog.search_path[:1], "pg_temp"])
    example: Any = parse_sql(f"CREATE FUNCTION f() RETURNS int SET search_path = {path} LANGUAGE sql AS ''")[0].stmt
    setting = tuple(each for each in example.options if each.defname == "set")
    kept, node.options = node.options, (*setting, *node.options)
    try:
        return execute(text(node))
    finally:
        node.options = kept
