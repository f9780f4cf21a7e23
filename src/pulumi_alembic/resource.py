"""The resource that keeps a database's schema at a revision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import Resource

from pulumi_alembic.backups.setting import BackupSetting, When
from pulumi_alembic.drift.ignoring import patterns
from pulumi_alembic.errors import MigrationError
from pulumi_alembic.fanout.query import Query
from pulumi_alembic.fanout.settings import asked as fanned_out
from pulumi_alembic.guard.allowance import allowed
from pulumi_alembic.inputs import ADMIN, APPLYING, FINGERPRINT, INFRASTRUCTURE
from pulumi_alembic.lint.settings import Settings
from pulumi_alembic.policy import Policy
from pulumi_alembic.promotion import UNSEALED
from pulumi_alembic.provider import MigrationsProvider
from pulumi_alembic.scripts import trust
from pulumi_alembic.scripts.history import HEAD, History
from pulumi_alembic.scripts.manifest import COMMAND

__all__ = ["Migrations", "proof_of"]

PRODUCTION = ("prod", "production")
"""The names of stacks in which going back is what somebody decides, and not which commit is checked out."""


class Migrations(Resource, module="alembic", name="Migrations"):
    """The database's schema is at the revision `target`; after an update `revision` is what the database itself says.

    `target` is `head` or a revision id, resolved when the program runs: previews and the state hold an id. Deleting
    the resource leaves the schema. What cannot be planned is an error of the program or of the preview, before
    anything changes.
    """

    revision: pulumi.Output[str]
    proof: pulumi.Output[str]
    """What the stack proves to one above it: `pulumi.export("proof", pulumi.Output.secret(migrations.proof))`."""
    schema_fingerprint: pulumi.Output[str]
    revisions: pulumi.Output[dict[str, int]]
    failures: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        url: pulumi.Input[str],
        directory: str = "migrations",
        history: History | None = None,
        target: str = HEAD,
        policy: Mapping[str, str] | None = None,
        require_approval: bool = False,
        approved: pulumi.Input[str] = "",
        allow_data_loss: Sequence[str] = (),
        keep_data: bool = True,
        lint: Mapping[str, object] | None = None,
        configure_lint: str = "",
        configure_backup: str = "",
        production: bool = False,
        lower: tuple[str, pulumi.Input[str | None]] | None = None,
        rehearse_with: pulumi.Input[str] | None = None,
        backup: str = When.NEVER,
        backup_folder: str = "",
        on_unknown_revision: str | None = None,
        infrastructure: pulumi.Input[str] | None = None,
        drift_ignore: Sequence[str] = (),
        databases: Sequence[pulumi.Input[str]] | Query | None = None,
        canary: int | None = None,
        wave: int | None = None,
        parallel: int | None = None,
        adopt: bool | str = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`url` is the migrator's `postgresql://…`, unknown for as long as its database does not exist.

        `directory` is Alembic's script location, relative to the program; `history` is what was read there by a
        program that needs it too. `policy` says how long to wait, in the words of `pulumi_alembic.policy.Policy`:
        `{"lock_timeout": "500ms"}`. With `require_approval` an update runs revisions only where the digest that a
        preview showed is `approved`, or PULUMI_ALEMBIC_APPROVE. Only the revisions of `allow_data_loss`, or of
        PULUMI_ALEMBIC_ALLOW_DATA_LOSS, may take away rows. With `keep_data` what a downgrade takes away is set aside in
        the schema `kept`, where the owner has one, and put back by the next upgrade. `backup` says when an update backs
        up the database into `backup_folder` first: `never`, `destructive` or `always`. `on_unknown_revision` is what a
        checkout does whose scripts lack a revision that the database is at: `rollback`, by what the ledger keeps, or
        `refuse`, the default on a `production` stack, and in one named prod or production.

        `lint` gives rules other severities: `{"truncate": "error"}`, see `pulumi_alembic.lint.Settings`;
        `configure_lint` is the command that does so, with `{rule}` in it, and `configure_backup` what makes backups. On
        a `production` stack practices are obligations. `lower` is the name of the stack that runs revisions first, and
        its proof of them as `proof_of` reads it: what that one has not run, as it is here and on the same major version
        of PostgreSQL, and with a way back that it rehearsed, is an error, but for an update that says in
        PULUMI_ALEMBIC_UNPROVEN why it cannot wait.

        `rehearse_with` is the URL of a login of the same server that may make databases and become the owner: with it a
        preview runs what is pending in a scratch database, and shows what it saw there; an update does so to prove the
        way back. No state holds it.

        `schema_fingerprint` is a digest of what an update left: a refresh compares it with what is there, and tells
        drift. `drift_ignore` are patterns of what may differ: `table app.tmp_*`. `infrastructure` is any text that
        changes whenever the program changes roles, grants or the database by other resources; without it their
        changes are drift.

        With `adopt` a database that no revision ran in is compared with what each builds, in a scratch database that
        the login of `rehearse_with` makes, and taken for the one that it is; given a revision, with that one alone.
        With `databases` the login of `url` migrates each of these, on the same server: names, or a Query that gives
        them. They go in waves: `canary` databases first, then `wave` at a time or, without it, twice as many as the
        wave before, `parallel` of them at once; none goes behind a wave that failed. Then `revision` is that of all,
        `revisions` says how many are at which, and `failures` names what failed.

        Raises pulumi.RunError where the scripts are not one history, `target` is none of them, a setting makes no
        sense, or what a preview needs is an output.
        """
        given = {"directory": directory, "target": target, "require_approval": require_approval, "policy": policy}
        given |= {"allow_data_loss": allow_data_loss, "lint": lint, "on_unknown_revision": on_unknown_revision}
        given |= {"keep_data": keep_data}
        _refuse_outputs(name, {**given, **{f"policy[{key!r}]": value for key, value in _items(policy)}})
        try:
            history = history or History.load(Path(directory))
            resolved = history.resolve(target)
            settings = Policy.parse({**(policy or {}), **({} if keep_data else {"keep_data": "false"})}).settings
            allowed(allow_data_loss)
            Settings.parse(lint or {})
            backups = BackupSetting.parse(backup, backup_folder)
            ignored = patterns(drift_ignore)
            several = fanned_out(databases, {"canary": canary, "wave": wave, "parallel": parallel}, backups.when)
            refuses = trust.refuse(on_unknown_revision or _on_unknown_revision(production=production))
        except MigrationError as error:
            raise pulumi.RunError(str(error)) from None
        properties: dict[str, Any] = {
            "url": pulumi.Output.secret(url),
            "directory": directory,
            "target": resolved,
            "__urn": pulumi.create_urn(
                name, "pulumi-python:dynamic/alembic:Migrations", parent=opts.parent if opts else None
            ),
            "revision": None,
            "proof": None,
            FINGERPRINT: None,
            **several,
        }
        if refuses:
            properties["on_unknown_revision"] = trust.REFUSE
        if infrastructure is not None:
            properties[INFRASTRUCTURE] = infrastructure
        if ignored:
            properties["drift_ignore"] = list(ignored)
        if settings:
            properties["policy"] = settings
        if require_approval:
            properties |= {"require_approval": True, "__approved": approved}
        if allow_data_loss:
            properties["__allow_data_loss"] = sorted(allow_data_loss)
        if lint:
            properties["lint"] = dict(lint)
        if configure_lint:
            properties["__configure"] = configure_lint
        if configure_backup:
            properties["__configure_backup"] = configure_backup
        if production:
            properties["__production"] = True
        if lower:
            properties["__lower"] = {"stack": lower[0], "proof": lower[1]}
        if adopt:
            properties["adopt"] = "true" if adopt is True else adopt
        if not pulumi.runtime.is_dry_run():
            properties[APPLYING] = True
        if rehearse_with is not None:
            properties[ADMIN] = pulumi.Output.secret(rehearse_with)
        if backups.when is not When.NEVER:
            properties |= {"backup": str(backups.when), "backup_folder": backup_folder}
        super().__init__(MigrationsProvider(), name, properties, opts)
        if not history.manifest.exists:
            text = f"no {history.manifest.path} yet, by which edited scripts are noticed before they are applied"
            pulumi.log.info(f"{text}: {COMMAND}", self)


def proof_of(stack: pulumi.StackReference) -> pulumi.Output[str | None]:
    """What the stack proves of its revisions, by its output `proof`; None where it has none.

    One that is not encrypted is not taken for a proof: only whoever has the stack's key can write the other kind.
    """

    async def proof() -> str | None:
        details = await stack.get_output_details("proof")
        return UNSEALED if details.value is not None else details.secret_value

    return pulumi.Output.from_input(proof())


def _items(policy: object) -> list[tuple[str, object]]:
    return list(policy.items()) if isinstance(policy, Mapping) else []


def _refuse_outputs(name: str, given: Mapping[str, object]) -> None:
    """A preview may have to do without an output's value, and cannot plan without one of these."""
    for argument, value in given.items():
        if isinstance(value, pulumi.Output):
            raise pulumi.RunError(
                f"Migrations {name!r}: {argument} is an output of another resource, which a preview may not know yet. "
                "Give it a plain value, such as one of the stack's configuration: only url and approved may be outputs"
            )


def _on_unknown_revision(*, production: bool) -> str:
    return trust.REFUSE if production or pulumi.get_stack() in PRODUCTION else trust.ROLLBACK
