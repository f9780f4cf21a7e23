"""The dynamic provider of the resource `pulumi_alembic.Migrations`. Come here for what Pulumi calls.

Every state file contains the dotted path of MigrationsProvider. The class must stay importable under this name.
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
    *(Properties.databases, Properties.schemas, Properties.shared_schemas),
    *(Properties.query, Properties.query_url, Properties.contract),
)
"""Inputs whose change requires an update, whatever is planned."""


_Call = TypeVar("_Call", bound=Callable[..., Any])


def _waiting(call: _Call) -> _Call:
    """Wrap a provider's method: its sessions wait for locks until `lock_deadline` and report which session holds one.

    The last argument of the method is the resource's properties.
    """

    @wraps(call)
    def waiting(*arguments: Any) -> Any:
        properties = Properties(arguments[-1])
        try:
            policy = properties.policy
        except PolicyError:
            # The wrapped method raises the same error.
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
    """The provider's methods. They read all that they need from their arguments and from the database.

    `check` adds the plan to the inputs: `plan` in one line, in a preview the properties DETAILS, and `__serial`.
    `__serial` counts the plans with anything to run. The outputs contain the serial of the last plan that ran.
    By it `diff` distinguishes a new plan from one that has run, as a refresh compares with the last update's inputs.
    """

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Let the plugin answer errors as `plugin_errors` formats them. The plugin calls this once, first."""
        plugin_errors.install(sys.modules["__main__"])

    @_waiting
    def check(self, _olds: Wire, news: Wire) -> CheckResult:
        """Return the inputs with the plan, or a failure if there is no plan. Reads the database and changes nothing."""
        inputs = Properties(news).without(Properties.rehearse_with, Properties.applying)
        try:
            properties = Properties.of(news)
            if properties.is_many:
                from pulumi_alembic.stack import many

                return CheckResult({**inputs, **many.check(Properties(_olds), properties)}, [])
            return CheckResult({**inputs, **check.check(Properties(_olds), properties)}, [])
        except MigrationError as error:
            # No property is named, because an engine would print its value.
            return CheckResult(inputs, [CheckFailure("", str(error))])

    def diff(self, _id: str, _olds: Wire, _news: Wire) -> DiffResult:
        """Return whether an update is needed.

        An update is needed in each of these cases:

        - a plan has not run yet, or the revision that was read last is not the target;
        - an input of COMPARED differs, or the last refresh found drift;
        - the inputs contain digests of applied scripts that the outputs lack, as a refresh would forget them.
        """
        olds, news = Properties(_olds), Properties(_news)
        planned = _olds.get(Properties.serial) != _news.get(Properties.serial)
        elsewhere = _olds.get(Properties.revision) != news.reaches
        moved = bool(olds.drift) or any(_olds.get(key) != _news.get(key) for key in COMPARED)
        old, applied = (trust.read(side.applied, STATE) for side in (olds, news))
        return DiffResult(changes=planned or elsewhere or moved or not applied.keys() <= old.keys())

    @_waiting
    def create(self, props: Wire) -> CreateResult:
        """Bring the database to the target, from the revision that it is at."""
        return CreateResult(ID, _migrate({}, props))

    @_waiting
    def update(self, _id: str, _olds: Wire, _news: Wire) -> UpdateResult:
        """Bring the database to the target, by upgrades or downgrades."""
        return UpdateResult(_migrate(_olds, _news))

    @_waiting
    def read(self, id_: str, props: Wire) -> ReadResult:
        """Return the database's revision and drift. If it cannot be read, warn and return the state as it is.

        If the database does not exist, return the result that deletes the resource from the state.
        """
        state = Properties.of(props)
        try:
            if state.is_many:
                from pulumi_alembic.stack import many

                return many.read(id_, state)
            return refresh.read(id_, state)
        except NoDatabase:
            return ReadResult("", {})
        except DatabaseError as error:
            # A warning and no failure: this refresh can itself reveal the problem that the next update repairs.
            reason = refresh.unreachable(state) or error
            state.log.warning(f"not read, the state keeps the last reading: {reason}")
            return ReadResult(id_, props)

    def delete(self, _id: str, _props: Wire) -> None:
        """Leave the schema and every row as they are. Only the state forgets the resource."""
        state = Properties(_props)
        # A destroy deletes this resource first, and the deletes that follow need the server.
        if warning := refresh.unreachable(state):
            state.log.warning(warning)


def _migrate(olds: Wire, news: Wire) -> Wire:
    properties = Properties.of(news)
    if properties.is_many:
        from pulumi_alembic.stack import many

        return many.migrate(properties)
    return update.migrate(Properties(olds), properties)
