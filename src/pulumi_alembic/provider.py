"""The dynamic provider of `pulumi_alembic.Migrations`.

The dotted path of MigrationsProvider is written into every state file: it must stay importable, under this name, for
ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from pulumi_alembic.database.connection import NoDatabase
from pulumi_alembic.database.sessions import waits
from pulumi_alembic.errors import DatabaseError, MigrationError, PolicyError
from pulumi_alembic.output.tracing import continued, span
from pulumi_alembic.policy import Policy
from pulumi_alembic.scripts import trust
from pulumi_alembic.stack import check, plugin_errors, refresh, update
from pulumi_alembic.stack.properties import ID, STATE, Properties, Wire

__all__ = ["MigrationsProvider"]

COMPARED = (
    *(Properties.url, Properties.directory, Properties.urn, Properties.infrastructure, Properties.drift_ignore),
    *(Properties.databases, Properties.query, Properties.query_url, Properties.contract),
)
"""Inputs that are a change where they are others, whatever is planned."""


_Call = TypeVar("_Call", bound=Callable[..., Any])


def _waiting(call: _Call) -> _Call:
    """The call, whose sessions wait for a lock until the policy's `lock_deadline`, and tell the person for whom.

    Its last argument is the resource's properties.
    """

    @wraps(call)
    def waiting(*arguments: Any) -> Any:
        properties = Properties(arguments[-1])
        try:
            policy = properties.policy
        except PolicyError:
            # The call says so itself.
            policy = Policy()
        named = {"pulumi.urn": properties.urn, "pulumi_alembic.target": properties.target}
        with (
            continued(plugin_errors.headers()),
            span(f"Migrations.{call.__name__}", named),
            waits(properties.log.info, policy.lock_deadline),
        ):
            return call(*arguments)

    return cast("_Call", waiting)


class MigrationsProvider(ResourceProvider):
    """Stateless: what a call needs, it reads from its arguments and from the database.

    `check` adds to the inputs what the update will run: `plan`, in one line, in a preview DETAILS of it, and
    `__serial`, the number of plans so far that had anything to run. The serial of the outputs is that of the last plan
    that ran, so that `diff` can tell a plan that is still to run from one that has run: a refresh shows it the inputs
    of the last update, whose plan is done.
    """

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Called by the plugin once; from here on its errors are those of `plugin_errors`."""
        plugin_errors.install(sys.modules["__main__"])

    @_waiting
    def check(self, _olds: Wire, news: Wire) -> CheckResult:
        """The inputs and the plan; a failure if there is no plan. Reads the database, changes nothing."""
        inputs = Properties(news).without(Properties.rehearse_with, Properties.applying)
        try:
            properties = Properties.of(news)
            if properties.is_many:
                from pulumi_alembic.stack import many

                return CheckResult({**inputs, **many.check(Properties(_olds), properties)}, [])
            return CheckResult({**inputs, **check.check(Properties(_olds), properties)}, [])
        except MigrationError as error:
            # Without a property: an engine would print its value.
            return CheckResult(inputs, [CheckFailure("", str(error))])

    def diff(self, _id: str, _olds: Wire, _news: Wire) -> DiffResult:
        """A change where a plan is still to run, the last reading is not the target, or the login is another.

        Where the stack's other resources changed, and where a refresh found drift.

        And where the state knows less of what is applied than it could: a refresh would forget what only inputs know.
        """
        olds, news = Properties(_olds), Properties(_news)
        planned = _olds.get(Properties.serial) != _news.get(Properties.serial)
        elsewhere = _olds.get(Properties.revision) != news.reaches
        moved = bool(olds.drift) or any(_olds.get(key) != _news.get(key) for key in COMPARED)
        old, applied = (trust.read(side.applied, STATE) for side in (olds, news))
        return DiffResult(changes=planned or elsewhere or moved or not applied.keys() <= old.keys())

    @_waiting
    def create(self, props: Wire) -> CreateResult:
        """Bring the database to the target. An existing database is taken from where it is."""
        return CreateResult(ID, _migrate({}, props))

    @_waiting
    def update(self, _id: str, _olds: Wire, _news: Wire) -> UpdateResult:
        """Bring the database to the target, in whichever direction that is."""
        return UpdateResult(_migrate(_olds, _news))

    @_waiting
    def read(self, id_: str, props: Wire) -> ReadResult:
        """What the database says now, as it was where it cannot be asked; gone if there is no such database."""
        state = Properties.of(props)
        try:
            if state.is_many:
                from pulumi_alembic.stack import many

                return many.read(id_, state)
            return refresh.read(id_, state)
        except NoDatabase:
            return ReadResult("", {})
        except DatabaseError as error:
            # Not a failure: the refresh may be the one that finds, and lets an update heal, what is in the way.
            reason = refresh.unreachable(state) or error
            state.log.warning(f"not read, the state keeps the last reading: {reason}")
            return ReadResult(id_, props)

    def delete(self, _id: str, _props: Wire) -> None:
        """Leaves the schema and every row as they are: only the stack forgets them."""
        state = Properties(_props)
        # Of a stack that is destroyed it is the first to go: what follows needs the server.
        if warning := refresh.unreachable(state):
            state.log.warning(warning)


def _migrate(olds: Wire, news: Wire) -> Wire:
    properties = Properties.of(news)
    if properties.is_many:
        from pulumi_alembic.stack import many

        return many.migrate(properties)
    return update.migrate(Properties(olds), properties)
