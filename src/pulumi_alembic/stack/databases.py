"""What a program says of many databases, as properties of the resource and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pulumi.output import Input, Output, Unknown

from pulumi_alembic.errors import DatabaseError, PolicyError
from pulumi_alembic.fanout.plan.databases import Listing, unpack
from pulumi_alembic.fanout.plan.waves import Waves
from pulumi_alembic.fanout.query import EXAMPLE, WHERE, ask
from pulumi_alembic.policy import parse_duration
from pulumi_alembic.stack.properties import Properties, Wire

__all__ = ["Many", "Query", "asked"]

_KEPT = 16_384
"""Characters that the packed names of a query may have: it can be asked again, and a list cannot."""


@dataclass(frozen=True)
class Query:
    """One statement whose rows are the names of databases, in the order in which they are to be migrated.

    It is asked at `url`, and where that is None at the resource's own, with whichever database that names. It can
    change nothing, and is ended after `timeout`.
    """

    statement: str
    url: Input[str] | None = None
    timeout: str = "10s"

    def validate(self) -> None:
        """Raises PolicyError for what cannot be asked."""
        if not isinstance(self.statement, str) or not self.statement.strip():
            raise PolicyError(f"{WHERE} must be a statement (such as {EXAMPLE}), not {self.statement!r}")
        parse_duration("the query's timeout", self.timeout)


def asked(databases: Sequence[Any] | Query | Output[Any] | None, waves: Waves | None, *, backs_up: bool) -> Wire:
    """The resource's properties for these arguments: none without databases. Raises PolicyError for what is wrong."""
    if waves is not None and not isinstance(waves, Waves):
        raise PolicyError(f"waves must be pulumi_alembic.Waves(…), not {waves!r:.80}")
    if databases is None:
        if waves is not None:
            raise PolicyError("waves is for several databases: name them with databases=[…] or Query(…)")
        return {}
    settings = Waves.parse(waves.settings if waves else {}).settings
    if backs_up:
        raise PolicyError(
            "backup is for one database, and here are many: take it off, and back them up before, or with the server's "
            "own means"
        )
    properties: Wire = dict.fromkeys((Properties.revisions, Properties.failures))
    if settings:
        properties[Properties.waves] = settings
    if isinstance(databases, Query):
        databases.validate()
        properties |= {Properties.query: databases.statement, Properties.query_timeout: databases.timeout}
        return properties | ({} if databases.url is None else {Properties.query_url: Output.secret(databases.url)})
    if isinstance(databases, str) or not isinstance(databases, Sequence | Output):
        raise PolicyError(f"databases must be a list of names, or a Query, not {databases!r:.80}")
    if not isinstance(databases, Output):
        resolved = [database for database in databases if not isinstance(database, Output)]
        Listing.of(resolved, Properties.databases, len(databases) - len(resolved))
        databases = list(databases)
    return properties | {Properties.databases: databases}


@dataclass(frozen=True)
class Many:
    """A fan-out among a resource's properties: those of the program, or those of a state."""

    properties: Properties

    @property
    def waves(self) -> Waves:
        """How it runs."""
        return Waves.parse(self.properties.waves)

    def listing(self, url: str | None) -> Listing | None:
        """The databases: as the program lists them, as the state keeps them, or as the query says now.

        None where that is not known yet. `url` is the login's. Raises PolicyError and DatabaseError as `ask` does.
        """
        named = self.properties.databases
        if isinstance(named, Sequence) and not isinstance(named, str):
            resolved = [name for name in named if not isinstance(name, Unknown)]
            return Listing.of(resolved, Properties.databases, len(named) - len(resolved))
        return self.ask(url) if self.properties.query else self.kept

    def ask(self, url: str | None) -> Listing | None:
        """As the query says now."""
        at = self.properties.query_url or url
        if at is None or isinstance(at, Unknown):
            return None
        try:
            return ask(self.properties.query, at, self.properties.query_timeout)
        except DatabaseError as error:
            raise type(error)(f"{error}" if WHERE in str(error) else f"{WHERE}: {error}") from None

    @property
    def kept(self) -> Listing | None:
        """As it was at the last check, where that is kept."""
        names = unpack(self.properties.names)
        return Listing(names) if names else None

    def adds(self, listing: Listing) -> Wire:
        """What a check says of the listing, in place of the program's own list."""
        packed = listing.pack()
        small = len(packed) <= _KEPT or not self.properties.query
        return {Properties.databases: str(listing), **({Properties.names: packed} if small else {})}
