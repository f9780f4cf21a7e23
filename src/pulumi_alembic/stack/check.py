"""What is planned and, for a preview, its account, as far as that can be made before the login is made or changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pulumi_alembic.database.connection import NoDatabase, NoLogin
from pulumi_alembic.errors import DatabaseError, MigrationError
from pulumi_alembic.migrate import planner
from pulumi_alembic.migrate.data_loss.setting import is_wanted
from pulumi_alembic.review import build, promotion_record
from pulumi_alembic.stack import log

if TYPE_CHECKING:
    from pulumi_alembic.migrate.planner import Looked
    from pulumi_alembic.review.plan_review import Account
    from pulumi_alembic.scripts.trust import Trust
    from pulumi_alembic.stack.inputs import Inputs

__all__ = ["plan", "proof"]


def plan(inputs: Inputs, olds: Mapping[str, Any], trust: Trust) -> tuple[Looked, Account | None]:
    """The plan from where the database is; without an account in an update, which makes its own before it runs.

    But in one that rehearses, whose account says what fails, and which downgrades restore the schema. A login that is
    not known, or that the server does not know yet, is asked for by the URL of the `olds`, the inputs of the last
    update. Raises MigrationError if there is no plan.
    """
    old_url = olds.get("url")
    if inputs.url is None:
        return _plan_unknown(inputs, olds, trust)
    try:
        return _account(inputs, inputs.url, trust)
    except NoLogin as error:
        if old_url is None or old_url == inputs.url or _database(old_url) != _database(inputs.url):
            raise NoLogin(f"{error}. {_advice(inputs, old_url)}") from None
        return _account(inputs, old_url, trust)
    except NoDatabase as error:
        advice = f"If it was dropped outside of the stack: {log.command('refresh', inputs.urn)}, then try again"
        raise NoDatabase(f"{error}. {advice}") from None


def _advice(inputs: Inputs, old_url: str | None) -> str:
    """What to do if the server does not know the login.

    A refresh asks the server that the state names: of one that is gone it cannot learn that nothing is left.
    """
    before, now = (_address(url) for url in (old_url or inputs.url, inputs.url))
    if before == now:
        return (
            "If the role or its password was changed outside of the stack, set them back as the stack has them; if "
            f"they were dropped: {log.command('refresh', inputs.urn)}, then try again"
        )
    return "\n  ".join(
        [
            f"The stack's database was on the server at {before}, and this server is at {now}.",
            "If that server still runs, name it again. If it is gone with all that it had, let the stack forget it:",
            log.command("state delete --all --force --yes", inputs.urn),
            log.command("up --yes", inputs.urn),
        ]
    )


def _address(url: str | None) -> str:
    parts = urlsplit(url or "")
    return f"{parts.hostname}:{parts.port or 5432}"


def proof(inputs: Inputs, revision: str, trust: Trust, props: Mapping[str, Any]) -> str:
    """What a database at the revision proves; nothing where that cannot be said of it. Changes nothing."""
    try:
        looked = planner.look_closely(inputs.url or "", inputs.directory, revision, trust=trust)
    except MigrationError:
        return ""
    return str(promotion_record.properties(props, looked, None, None).get(promotion_record.PROVES, ""))


def _plan_unknown(inputs: Inputs, olds: Mapping[str, Any], trust: Trust) -> tuple[Looked, Account | None]:
    """A login that is not known yet is either that of a database to come, or another one for the database there is."""
    try:
        if "url" in olds:
            return _account(inputs, olds["url"], trust)
    except NoLogin:
        if target := olds.get("target"):
            refused = f"the server refuses the former login: the plan begins at {target}, where the last update ended"
            log.info(refused, inputs.urn)
            return build.account_from_base(inputs.directory, inputs.target, inputs.lint, (target,))
    except DatabaseError:
        log.info("the database cannot be asked yet: the plan is for an empty one", inputs.urn)
    return build.account_from_base(inputs.directory, inputs.target, inputs.lint)


def _account(inputs: Inputs, url: str, trust: Trust) -> tuple[Looked, Account | None]:
    if inputs.applying:
        looked = planner.look_closely(url, inputs.directory, inputs.target, trust=trust, adopted=inputs.adopted)
        if not inputs.admin or not looked.plan.steps:
            planner.refuse_unfit(looked.plan, url)
            return looked, None

    def tell(text: str) -> None:
        log.status(text, inputs.urn)

    return build.account_from_database(
        url,
        inputs.directory,
        inputs.target,
        inputs.lint,
        trust,
        admin=inputs.admin,
        adopted=inputs.adopted,
        tell=tell,
        keep=is_wanted(inputs.policy),
    )


def _database(url: str) -> tuple[object, ...]:
    parts = urlsplit(url)
    return parts.hostname, parts.port, parts.path
