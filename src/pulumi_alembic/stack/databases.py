"""The databases or schemas of a fan-out: from a program's arguments to properties of the resource, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pulumi.output import Input, Output, Unknown

from pulumi_alembic.errors import DatabaseError, PolicyError
from pulumi_alembic.fanout.plan.databases import Kind, Listing, unpack
from pulumi_alembic.fanout.plan.waves import Waves
from pulumi_alembic.fanout.query import EXAMPLE, WHERE, ask
from pulumi_alembic.policy import parse_duration
from pulumi_alembic.stack.properties import Properties, Wire

__all__ = ["Many", "Query", "Schemas", "asked"]

_KEPT = 16_384
"""The largest packed names, in characters, that a state holds for a query. A list is held whatever its size."""


@dataclass(frozen=True)
class Query:
    """A statement whose rows are the names of databases or schemas, in the order in which they are migrated.

    The statement runs in a transaction that cannot write.

    Attributes:
        statement: The SQL text.
        url: The database to query. None for the resource's own `url`, with the database that it names.
        timeout: How long the statement is allowed to run, such as `10s`.

    """

    statement: str
    url: Input[str] | None = None
    timeout: str = "10s"

    def validate(self) -> None:
        """Check the fields. Raises PolicyError if the statement is empty or the timeout is not valid."""
        if not isinstance(self.statement, str) or not self.statement.strip():
            raise PolicyError(f"{WHERE} must be a statement (such as {EXAMPLE}), not {self.statement!r}")
        parse_duration("the query's timeout", self.timeout)


@dataclass(frozen=True)
class Schemas:
    """The schemas of tenants in one database, each with its own revision.

    Attributes:
        names: The names, or a query for them.
        shared: Other schemas in which scripts find names, after the tenant's. Scripts must not change them.

    """

    names: Sequence[Input[str]] | Query
    shared: Sequence[str] = ()


_Names = Sequence[Any] | Query | Output[Any] | None


def asked(databases: _Names, schemas: _Names | Schemas, waves: Waves | None, has: Mapping[str, object]) -> Wire:
    """Return the resource's properties for these arguments. Empty if it has one database without tenants.

    Args:
        databases: The names, or the query for them.
        schemas: The same for tenants' schemas in one database.
        waves: How many are migrated at a time. None for the default.
        has: Other arguments of the resource by name. Some of them are an error, if they are given.

    Raises:
        PolicyError: An argument is not valid, or cannot be combined with another one.

    """
    if waves is not None and not isinstance(waves, Waves):
        raise PolicyError(f"waves must be pulumi_alembic.Waves(…), not {waves!r:.80}")
    if databases is not None and schemas is not None:
        raise PolicyError("databases and schemas cannot be combined: declare a resource for each database")
    if databases is None and schemas is None:
        if waves is not None:
            raise PolicyError("waves is for several databases: name them with databases=[…] or Query(…)")
        return {}
    settings = Waves.parse(waves.settings if waves else {}).settings
    if schemas is not None:
        return _of_schemas(schemas if isinstance(schemas, Schemas) else Schemas(schemas), settings, has)  # type: ignore[arg-type]
    if has["backup"]:
        raise PolicyError(
            "backup is for one database, and here are many: take it off, and back them up before, or with the server's "
            "own means"
        )
    _refuse(Kind.DATABASE, has)
    return _named(databases, Kind.DATABASE, settings)


def _of_schemas(schemas: Schemas, settings: Wire, has: Mapping[str, object]) -> Wire:
    _refuse(Kind.SCHEMA, has)
    shared = list(schemas.shared)
    if shared:
        Listing.of(shared, "shared", kind=Kind.SCHEMA)
    properties = _named(schemas.names, Kind.SCHEMA, settings)
    # With a query, the name of the property shows what its rows are.
    properties.setdefault(Properties.schemas, "")
    return properties | ({Properties.shared_schemas: shared} if shared else {})


_REFUSED = {Kind.DATABASE: ("adopt", "drift"), Kind.SCHEMA: ("backup", "adopt", "rehearse_with")}
"""The arguments that a fan-out does not support."""


def _refuse(kind: Kind, has: Mapping[str, object]) -> None:
    """Raise PolicyError if one of the arguments is given that a fan-out of this kind does not support."""
    for name in _REFUSED[kind]:
        if has[name]:
            raise PolicyError(
                f"{name} and {_KEYS[kind]} cannot be combined: take {name} off, or declare a resource without "
                f"{_KEYS[kind]}"
            )


def _named(names: Any, kind: Kind, settings: Wire) -> Wire:
    """Return the properties for these names, or for the query for them."""
    key = _KEYS[kind]
    properties: Wire = dict.fromkeys((Properties.revisions, Properties.failures))
    if settings:
        properties[Properties.waves] = settings
    if isinstance(names, Query):
        names.validate()
        properties |= {Properties.query: names.statement, Properties.query_timeout: names.timeout}
        return properties | ({} if names.url is None else {Properties.query_url: Output.secret(names.url)})
    if isinstance(names, str) or not isinstance(names, Sequence | Output):
        raise PolicyError(f"{key} must be a list of names, or a Query, not {names!r:.80}")
    if not isinstance(names, Output):
        resolved = [name for name in names if not isinstance(name, Output)]
        Listing.of(resolved, key, len(names) - len(resolved), kind)
        names = list(names)
    return properties | {key: names}


_KEYS = {Kind.DATABASE: Properties.databases, Kind.SCHEMA: Properties.schemas}


@dataclass(frozen=True)
class Many:
    """The fan-out that a resource's properties describe, either a program's inputs or a state's."""

    properties: Properties

    @property
    def kind(self) -> Kind:
        """Whether the names are those of databases or of schemas."""
        return Kind.SCHEMA if Properties.schemas in self.properties.wire else Kind.DATABASE

    @property
    def waves(self) -> Waves:
        """The sizes of the waves."""
        return Waves.parse(self.properties.waves)

    def listing(self, url: str | None) -> Listing | None:
        """Return the databases that the program, the query or the state lists. None if they are not known yet.

        Args:
            url: The login's URL, for the query. None if it is not known yet.

        Raises:
            PolicyError: The query or its answer is not valid.
            DatabaseError: The query cannot be run.

        """
        named = self.properties.wire.get(_KEYS[self.kind])
        if isinstance(named, Sequence) and not isinstance(named, str):
            resolved = [name for name in named if not isinstance(name, Unknown)]
            return Listing.of(resolved, _KEYS[self.kind], len(named) - len(resolved), self.kind)
        return self.ask(url) if self.properties.query else self.kept

    def ask(self, url: str | None) -> Listing | None:
        """Return the databases that the query lists now. None if its URL is not known yet. Raises as `listing` does."""
        at = self.properties.query_url or url
        if at is None or isinstance(at, Unknown):
            return None
        try:
            return ask(self.properties.query, at, self.properties.query_timeout, self.kind)
        except DatabaseError as error:
            raise type(error)(f"{error}" if WHERE in str(error) else f"{WHERE}: {error}") from None

    @property
    def kept(self) -> Listing | None:
        """The databases of the last check, if the state holds them."""
        names = unpack(self.properties.names)
        return Listing(names, kind=self.kind) if names else None

    def adds(self, listing: Listing) -> Wire:
        """Return the properties that describe the listing. They replace the program's own list."""
        packed = listing.pack()
        small = len(packed) <= _KEPT or not self.properties.query
        return {_KEYS[self.kind]: str(listing), **({Properties.names: packed} if small else {})}
