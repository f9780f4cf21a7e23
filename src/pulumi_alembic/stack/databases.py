"""The databases of a fan-out: from a program's arguments to properties of the resource, and back."""

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
"""The largest packed names, in characters, that a state holds for a query. A list is held whatever its size."""


@dataclass(frozen=True)
class Query:
    """A statement whose rows are the names of databases, in the order in which they are migrated.

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


def asked(databases: Sequence[Any] | Query | Output[Any] | None, waves: Waves | None, *, backs_up: bool) -> Wire:
    """Return the resource's properties for these arguments. Empty if `databases` is None.

    Args:
        databases: The names, or the query for them.
        waves: How many are migrated at a time. None for the default.
        backs_up: Whether the resource takes backups, which is an error for several databases.

    Raises:
        PolicyError: An argument is not valid, or `waves` is given without `databases`.

    """
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
    """The fan-out that a resource's properties describe, either a program's inputs or a state's."""

    properties: Properties

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
        named = self.properties.databases
        if isinstance(named, Sequence) and not isinstance(named, str):
            resolved = [name for name in named if not isinstance(name, Unknown)]
            return Listing.of(resolved, Properties.databases, len(named) - len(resolved))
        return self.ask(url) if self.properties.query else self.kept

    def ask(self, url: str | None) -> Listing | None:
        """Return the databases that the query lists now. None if its URL is not known yet. Raises as `listing` does."""
        at = self.properties.query_url or url
        if at is None or isinstance(at, Unknown):
            return None
        try:
            return ask(self.properties.query, at, self.properties.query_timeout)
        except DatabaseError as error:
            raise type(error)(f"{error}" if WHERE in str(error) else f"{WHERE}: {error}") from None

    @property
    def kept(self) -> Listing | None:
        """The databases of the last check, if the state holds them."""
        names = unpack(self.properties.names)
        return Listing(names) if names else None

    def adds(self, listing: Listing) -> Wire:
        """Return the properties that describe the listing. They replace the program's own list."""
        packed = listing.pack()
        small = len(packed) <= _KEPT or not self.properties.query
        return {Properties.databases: str(listing), **({Properties.names: packed} if small else {})}
