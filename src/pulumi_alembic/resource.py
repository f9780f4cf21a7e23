"""The resource that brings a database's schema to a revision. Programs begin here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pulumi
from pulumi.dynamic import Resource

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.fanout.plan.waves import Waves
from pulumi_alembic.migrate.data_loss.settings import allowed
from pulumi_alembic.output.printable import printable
from pulumi_alembic.policy import Policy
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.review.lint.settings import Settings
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.history import HEAD, History
from pulumi_alembic.scripts.promotion import UNSEALED
from pulumi_alembic.stack.arguments import (
    Approval,
    Argument,
    Backup,
    Commands,
    Contract,
    Drift,
    PromoteFrom,
    properties_of,
)
from pulumi_alembic.stack.databases import Query, Schemas
from pulumi_alembic.stack.databases import asked as fanned_out
from pulumi_alembic.stack.properties import Properties, Wire

__all__ = ["Migrations", "proof_of"]

PRODUCTION = ("prod", "production")
"""Stack names for which an update refuses revisions that the scripts lack, unless the program sets otherwise."""


class Migrations(Resource, module="alembic", name="Migrations"):
    """The schema of a database at the revision `target`. After an update, `revision` is read from the database.

    `target` is `head` or a revision id. It is resolved when the program runs, so that previews and the state contain an
    id. Deleting the resource leaves the schema. A plan that cannot work is an error of the program or of the preview,
    before anything changes.
    """

    revision: pulumi.Output[str]
    proof: pulumi.Output[str]
    """The promotion record for the next stack: `pulumi.export("proof", pulumi.Output.secret(migrations.proof))`."""
    schema_fingerprint: pulumi.Output[str]
    revisions: pulumi.Output[dict[str, int]]
    failures: pulumi.Output[dict[str, str]]

    def __init__(  # noqa: PLR0913 - keywords that programs use
        self,
        name: str,
        *,
        url: pulumi.Input[str],
        directory: str = "migrations",
        history: History | None = None,
        target: str = HEAD,
        policy: Mapping[str, str] | None = None,
        approval: Approval | None = None,
        allow_data_loss: Sequence[str] = (),
        keep_data: bool = True,
        backup: Backup | None = None,
        lint: Mapping[str, object] | None = None,
        production: bool = False,
        promote_from: PromoteFrom | None = None,
        rehearse_with: pulumi.Input[str] | None = None,
        on_unknown_revision: str | None = None,
        drift: Drift | None = None,
        adopt: bool | str = False,
        databases: Sequence[pulumi.Input[str]] | Query | None = None,
        schemas: Sequence[pulumi.Input[str]] | Query | Schemas | None = None,
        waves: Waves | None = None,
        contract: Contract | None = None,
        baselines: bool = True,
        commands: Commands | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Declare the revision of the schema.

        Args:
            name: The name of the resource.
            url: The migrator's `postgresql://…`. It is unknown until its database exists.
            directory: Alembic's script location, relative to the program.
            history: The scripts, if the program has already read them from `directory`.
            target: `head`, or the revision that the schema is brought to.
            policy: How long to wait, with the keys of `pulumi_alembic.policy.Policy`: `{"lock_timeout": "500ms"}`.
            approval: If given, an update runs revisions only with the approved digest of their plan.
            allow_data_loss: The revisions that are allowed to delete rows; PULUMI_ALEMBIC_ALLOW_DATA_LOSS adds others.
            keep_data: Whether a downgrade or a contract preserves the rows that it drops, in the owner's schema `kept`.
            backup: When an update takes a backup first, and the directory for it.
            lint: Other severities of rules: `{"truncate": "error"}`, see `pulumi_alembic.review.lint.Settings`.
            production: Whether this is a production stack: practices of lint are obligations then.
            promote_from: The stack that must have run a revision before this one does.
            rehearse_with: The URL of a login of the same server that can create databases and become the owner.
                If given, pending revisions are first run in a scratch database. The state does not contain it.
            on_unknown_revision: What an update does if the scripts lack an applied revision. `rollback` uses the
                ledger's script. `refuse` is the default on production stacks and stacks named prod or production.
            drift: Differences that are not reported as drift.
            adopt: Whether to take over a database in which no revision ran. Its catalog is compared with that of each
                revision in a scratch database; given a revision, with that one only.
            databases: The names of several databases of the server of `url`, or a query for them. `revision` is then
                that of all, `revisions` has the numbers, and `failures` the errors.
            schemas: The names of tenants' schemas in the database of `url`, or a query for them, with a revision each.
            waves: How many of `databases` or `schemas` are migrated at a time.
            contract: When revisions of phase contract run. By default they run with the others, but are held on a
                production stack on which revisions were applied before.
            baselines: Whether an empty database starts from the newest baseline on the way to `target`.
            commands: The commands that change these settings, for messages.
            opts: Pulumi's own options.

        Raises:
            pulumi.RunError: The scripts are not one history, `target` is not in it, a setting is not valid, or an
                argument that a preview needs is an output. Nothing was changed.

        """
        arguments: dict[str, object] = {
            "directory": directory,
            "target": target,
            "policy": policy,
            "keep_data": keep_data,
        }
        arguments |= {"allow_data_loss": allow_data_loss, "lint": lint, "on_unknown_revision": on_unknown_revision}
        _refuse_outputs(name, {**arguments, **{f"policy[{key!r}]": value for key, value in _items(policy)}})
        groups: dict[str, tuple[type[Argument], Argument | None]] = {
            "approval": (Approval, approval),
            "backup": (Backup, backup),
            "promote_from": (PromoteFrom, promote_from),
            "drift": (Drift, drift),
            "commands": (Commands, commands),
            "contract": (Contract, contract),
        }
        try:
            history = history or History.load(Path(directory))
            resolved = history.resolve(target)
            settings = Policy.parse({**(policy or {}), **({} if keep_data else {"keep_data": "false"})}).settings
            allowed(allow_data_loss)
            Settings.parse(lint or {})
            grouped = properties_of(groups)
            has: dict[str, object] = {"backup": Properties.backup in grouped, "adopt": adopt, "drift": drift}
            several = fanned_out(databases, schemas, waves, {**has, "rehearse_with": rehearse_with is not None})
            refuses = trust.refuse(on_unknown_revision or _on_unknown_revision(production=production))
        except MigrationError as error:
            raise pulumi.RunError(str(error)) from None
        properties: Wire = {
            Properties.url: pulumi.Output.secret(url),
            Properties.directory: directory,
            Properties.target: resolved,
            Properties.urn: pulumi.create_urn(
                name, "pulumi-python:dynamic/alembic:Migrations", parent=opts.parent if opts else None
            ),
            Properties.revision: None,
            Properties.proof: None,
            Properties.schema_fingerprint: None,
            **grouped,
            **several,
        }
        if refuses:
            properties[Properties.on_unknown_revision] = trust.REFUSE
        if settings:
            properties[Properties.policy] = settings
        if allow_data_loss:
            properties[Properties.allow_data_loss] = sorted(allow_data_loss)
        if lint:
            properties[Properties.lint] = dict(lint)
        if production:
            properties[Properties.production] = True
        if adopt:
            properties[Properties.adopt] = "true" if adopt is True else adopt
        if not baselines:
            properties[Properties.baselines] = False
        if not pulumi.runtime.is_dry_run():
            properties[Properties.applying] = True
        if rehearse_with is not None:
            properties[Properties.rehearse_with] = pulumi.Output.secret(rehearse_with)
        super().__init__(MigrationsProvider(), name, properties, opts)
        if warning := history.manifest.warning:
            pulumi.log.warn(printable(warning), self)


def proof_of(stack: pulumi.StackReference) -> pulumi.Output[str | None]:
    """Return another stack's promotion record, from its output `proof`. None if the stack has no such output.

    An output that is not encrypted is not accepted: without the stack's key anybody could have written it.
    """

    async def proof() -> str | None:
        details = await stack.get_output_details(Properties.proof)
        return UNSEALED if details.value is not None else details.secret_value

    return pulumi.Output.from_input(proof())


def _items(policy: object) -> list[tuple[str, object]]:
    return list(policy.items()) if isinstance(policy, Mapping) else []


def _refuse_outputs(name: str, given: Mapping[str, object]) -> None:
    """Reject outputs as arguments that every preview needs: a preview does not always know an output's value."""
    for argument, value in given.items():
        if isinstance(value, pulumi.Output):
            raise pulumi.RunError(
                f"Migrations {name!r}: {argument} is an output of another resource, which a preview does not always "
                "know. Give it a plain value, such as one of the stack's configuration"
            )


def _on_unknown_revision(*, production: bool) -> str:
    return trust.REFUSE if production or pulumi.get_stack() in PRODUCTION else trust.ROLLBACK
