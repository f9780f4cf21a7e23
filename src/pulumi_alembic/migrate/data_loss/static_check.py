"""Recognize by its words that a statement deletes nothing, given the functions and triggers of the database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection
    from pulumi_alembic.sql.catalog import Catalog

__all__ = ["CatalogOutline", "may_rename"]

_WORD = re.compile(r"\w+|U&")
_TAKING = frozenset(["drop", "truncate", "delete", "merge", "do", "call", "execute", "u&"])
"""A statement without these words, and without a function of the database's own, deletes nothing."""

_CHANGING = frozenset(["function", "procedure", "extension", "search_path", "trigger", "rule"])
_RENAMING = frozenset(["rename", "schema", "constraint"])
_MEANT = ("some rows of ", "some values of ", "values of ")
"""Effects that are a statement's purpose, so that they need no permission."""

_OUTLINE = r"""
SELECT current_schemas(false), (
    SELECT array_agg(DISTINCT ARRAY[nspname, proname])
    FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace JOIN pg_language l ON l.oid = prolang
    WHERE nspname <> 'information_schema' AND nspname NOT LIKE 'pg\_%' AND lanname NOT IN ('c', 'internal')
        AND (nspname, proname) <> ('migrations', 'ledger_is_append_only')
), (
    SELECT array_agg(relname) FROM pg_class WHERE oid IN (
        SELECT tgrelid FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid
        WHERE NOT tgisinternal AND prosrc ~* '\m(truncate|drop|delete|execute)\M'
        UNION SELECT ev_class FROM pg_rewrite WHERE ev_type <> '1'
    )
)
"""
"""Functions that can run SQL, and tables whose triggers or rules can delete rows."""


@dataclass(frozen=True)
class CatalogOutline:
    """The part of the catalog that the check needs. Valid until a statement can have changed it."""

    search_path: tuple[str, ...]
    functions: frozenset[tuple[str, str]]
    tables: frozenset[str]

    @classmethod
    def read(cls, session: Connection) -> Self:
        """Read the outline of the session's database."""
        [(path, functions, tables)] = session.execute(_OUTLINE.encode()).fetchall()
        return cls(tuple(path), frozenset((schema, name) for schema, name in functions or ()), frozenset(tables or ()))

    def may_change_by(self, sql: str) -> bool:
        """Return whether the outline must be read again after the statement."""
        return not _CHANGING.isdisjoint(_words(sql))

    def may_lose_by(self, sql: str) -> bool:
        """Return whether the statement can delete rows, so that the whole catalog must be read."""
        words = _words(sql)
        if not words.isdisjoint(self._acting):
            return True
        if words.isdisjoint(_TAKING) and words.isdisjoint(self._calling):
            return False
        from pulumi_alembic.sql.effects import effects

        seen_effects = effects(sql, self._catalog)
        return bool(seen_effects.unknown) or not all(
            destroyed.startswith(_MEANT) for destroyed in seen_effects.destroys
        )

    @cached_property
    def _acting(self) -> frozenset[str]:
        return frozenset().union(*map(_words, self.tables))

    @cached_property
    def _calling(self) -> frozenset[str]:
        return frozenset().union(*(_words(name) for _, name in self.functions))

    @cached_property
    def _catalog(self) -> Catalog:
        from pulumi_alembic.sql.catalog import Catalog, quoted

        names = {quoted(schema, name): True for schema, name in self.functions}
        return Catalog(functions=names, search_path=self.search_path, complete=False)


def may_rename(sql: str) -> bool:
    """Return whether the statement can rename something or drop a foreign key."""
    return not _RENAMING.isdisjoint(_words(sql))


@lru_cache(maxsize=2)
def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))
