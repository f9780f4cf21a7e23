"""Of most statements their words tell that they take nothing away, given what in the database may act on its own."""

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
"""A statement with none of these words, and that of no function of the database's own, takes nothing away."""

_CHANGING = frozenset(["function", "procedure", "extension", "search_path", "trigger", "rule"])
_RENAMING = frozenset(["rename", "schema", "constraint"])
_MEANT = ("some rows of ", "some values of ", "values of ")
"""What a statement is for that changes rows: nothing of it needs to be allowed."""

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
"""The functions that may run SQL, and the tables that writing to may take rows from."""


@dataclass(frozen=True)
class CatalogOutline:
    """As it was read, until a statement may have changed it; names are as the catalog has them."""

    search_path: tuple[str, ...]
    functions: frozenset[tuple[str, str]]
    tables: frozenset[str]

    @classmethod
    def read(cls, session: Connection) -> Self:
        """That of the session's database, as it is there now."""
        [(path, functions, tables)] = session.execute(_OUTLINE.encode()).fetchall()
        return cls(tuple(path), frozenset((schema, name) for schema, name in functions or ()), frozenset(tables or ()))

    def may_change_by(self, sql: str) -> bool:
        """Whether it is to be read again after the statement."""
        return not _CHANGING.isdisjoint(_words(sql))

    def may_lose_by(self, sql: str) -> bool:
        """Whether the statement is worth a look at the whole catalog."""
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
    """Whether something may have another name after the statement, or no foreign key any more."""
    return not _RENAMING.isdisjoint(_words(sql))


@lru_cache(maxsize=2)
def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))
