"""The functions that list a database's objects: getSchemas, getTables, getSequences."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from pulumi_embedded.postgresql.connection import Row, Session
from pulumi_embedded.postgresql.properties import Values

__all__ = ["FUNCTIONS", "Function"]

_PATTERNS = ("likeAnyPatterns", "likeAllPatterns", "notLikeAllPatterns")


@dataclass(frozen=True)
class Function:
    """A query of a view of information_schema.

    Attributes:
        result: The name of the result.
        columns: The view's columns by the names in the result.
        view: The name of the view.
        lists: Columns by the names of arguments that list their values.

    """

    result: str
    columns: dict[str, str]
    view: str
    lists: dict[str, str]

    @property
    def arguments(self) -> set[str]:
        """The names of the function's arguments."""
        own = {"includeSystemSchemas"} if self.result == "schemas" else set()
        return {"database", "regexPattern", *_PATTERNS, *self.lists, *own}

    def failures(self, arguments: Values) -> list[str]:
        """Return the reasons for which the arguments are rejected, in the real plugin's words."""
        failures = [f"[{name}] Invalid or unknown key" for name in sorted(arguments.keys() - self.arguments)]
        if not arguments.get("database"):
            required = 'The argument "database" is required, but no definition was found.'
            failures.insert(0, f"[database] Missing required argument: {required}")
        return failures

    def call(self, session: Session, arguments: Values) -> Values:
        """Return the arguments, an id from them, and the objects of the database."""
        inputs = {name: value for name, value in arguments.items() if value is not None}
        if self.result == "schemas":
            inputs = {"includeSystemSchemas": False, **inputs}
        filters = list(self._filters(inputs))
        where = " WHERE " + " AND ".join(condition for condition, _ in filters) if filters else ""
        query = f"SELECT {', '.join(self.columns.values())} FROM information_schema.{self.view}{where}"  # noqa: S608
        rows = session.direct(inputs["database"]).rows(query, [value for _, values in filters for value in values])
        return {**inputs, "id": self._id(inputs), self.result: self._found(rows)}

    def _filters(self, given: Values) -> Iterator[tuple[str, list[object]]]:
        name = next(iter(self.columns.values()))
        if self.result == "schemas" and not given["includeSystemSchemas"]:
            yield f"{name} NOT LIKE %s AND {name} <> %s", ["pg_%", "information_schema"]
        for argument, column in self.lists.items():
            if given.get(argument):
                yield f"{column} = ANY(%s)", [given[argument]]
        operators = ("LIKE ANY", "LIKE ALL", "NOT LIKE ALL")
        for argument, operator in zip(_PATTERNS, operators, strict=True):
            if given.get(argument):
                yield f"{name} {operator}(%s)", [given[argument]]
        if given.get("regexPattern"):
            yield f"{name} ~ %s", [given["regexPattern"]]

    def _id(self, given: Values) -> str:
        def array(argument: str, word: str) -> str:
            quoted = ",".join(f"'{value}'" for value in given.get(argument) or [])
            return f"{word} (array[{quoted}])"

        system = [str(given["includeSystemSchemas"]).lower()] if self.result == "schemas" else []
        lists = [array(argument, "ANY") for argument in self.lists]
        patterns = [array(name, word) for name, word in zip(_PATTERNS, ("ANY", "ALL", "ALL"), strict=True)]
        return "_".join([given["database"], *system, *lists, *patterns, given.get("regexPattern") or ""])

    def _found(self, rows: list[Row]) -> list[object]:
        if len(self.columns) > 1:
            return [dict(zip(self.columns, row, strict=True)) for row in rows]
        # A set of Terraform has each value once, ordered by its checksum as text.
        return sorted({row[0] for row in rows}, key=lambda name: str(zlib.crc32(name.encode())))


FUNCTIONS = {
    "postgresql:index/getSchemas:getSchemas": Function("schemas", {"name": "schema_name"}, "schemata", {}),
    "postgresql:index/getTables:getTables": Function(
        "tables",
        {"objectName": "table_name", "schemaName": "table_schema", "tableType": "table_type"},
        "tables",
        {"schemas": "table_schema", "tableTypes": "table_type"},
    ),
    "postgresql:index/getSequences:getSequences": Function(
        "sequences",
        {"objectName": "sequence_name", "schemaName": "sequence_schema", "dataType": "data_type"},
        "sequences",
        {"schemas": "sequence_schema"},
    ),
}
