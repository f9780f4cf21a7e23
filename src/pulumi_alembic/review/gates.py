"""The gates of a plan in their order: rehearsal, assertions, lint, approval, data loss. For one or many databases."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi_alembic.errors import AssertionFailed, DataLoss, LintError, NotApproved, PolicyError, RehearsalFailed
from pulumi_alembic.ledger.table import SKIPPED
from pulumi_alembic.migrate.data_loss.settings import ALLOW_DATA_LOSS
from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.lint.rules import OF_PLAN
from pulumi_alembic.review.plan_review import DIGEST_FORMULA, PARTS, Finding, PlanReview, Severity, differences
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.promotion import UNPROVEN
from pulumi_alembic.scripts.promotion import VARIABLE as UNPROVEN_REASON

if TYPE_CHECKING:
    from pulumi_alembic.review.plan_review import RevisionReview

__all__ = ["APPROVE", "SKIP_REHEARSAL", "Gates", "errors_of", "notes", "refuse_failed"]

APPROVE = "PULUMI_ALEMBIC_APPROVE"
"""The environment variable with the approved digest."""

SKIP_REHEARSAL = "PULUMI_ALEMBIC_SKIP_REHEARSAL"
"""The environment variable with the reason why one run continues although its rehearsal failed."""

_DIGEST = re.compile(rf"(v\d+:)[0-9a-f]{{32}}(-[0-9a-f]{{4}}){{{len(PARTS)}}}")
_SHORTEST = 3
_SHOWN = 5


@dataclass(frozen=True)
class Gates:
    """What one update is allowed to run.

    Attributes:
        up: The command that runs the update.
        configure: The command that sets the severity of the rule `{rule}`.
        may_lose: The revisions that are allowed to delete rows.
        preview: The command that previews the update.
        approved: The approved digest. Empty if none was given, None if the stack requires no approval.

    """

    up: str
    configure: str
    may_lose: frozenset[str] = frozenset()
    preview: str = ""
    approved: str | None = None

    def check(self, reviews: Collection[PlanReview], digest: str, other: Callable[[], str] = lambda: "") -> None:
        """Check the plans before they run.

        Args:
            reviews: The reviews of the plans.
            digest: The digest of all of them.
            other: Returns a second digest that an approval is allowed to name.

        Raises:
            RehearsalFailed: A rehearsal failed.
            AssertionFailed: An assertion of a revision is false.
            LintError: A finding of severity error has no exception.
            NotApproved: The approved digest is another one.
            DataLoss: A revision deletes rows without permission. Whichever error is first in this order, nothing has
                run.

        """
        for review in reviews:
            refuse_failed(review, self.up)
        for review in reviews:
            _refuse_unmet(review, self.up)
        for review in reviews:
            _refuse_errors(review, self.configure, self.up)
        if self.approved is not None and self.approved != digest and not (self.approved and self.approved == other()):
            raise _not_approved(self.approved, digest, self.preview, self.up)
        for review in reviews:
            _refuse_losses(review, self.may_lose, self.up)


def refuse_failed(review: PlanReview, command: str) -> None:
    """Reject a plan of which a revision failed in its rehearsal, unless SKIP_REHEARSAL contains a reason.

    Args:
        review: The review of the plan.
        command: The command that runs the plan, for the error.

    Raises:
        RehearsalFailed: A revision failed. Nothing has run.
        PolicyError: The reason is too short to inform a later reader.

    """
    refused = list(_refused(review))
    if not refused or _reason():
        return
    lines = [f"  {review.file}: {review.rehearsed.fails}" for review in refused if review.rehearsed]
    revision = refused[0]
    advice = [] if review.direction == Direction.DOWNGRADE else ["  Correct the script, then: pulumi-alembic manifest"]
    raise RehearsalFailed(
        "\n".join(
            [
                f"revision {revision.id} fails on {revision.direction} in the rehearsal, and nothing was changed:",
                *lines,
                *advice,
                f"  To run it anyway, once: {SKIP_REHEARSAL}='why it can succeed' {command}",
            ]
        )
    )


def _refuse_unmet(review: PlanReview, command: str) -> None:
    """Raise AssertionFailed if an assertion of the plan is false. `command` runs the plan again."""
    lines = [f"  {revision.file}: {message}" for revision in review.revisions for message in revision.unmet]
    if lines:
        raise AssertionFailed(
            "\n".join(["what the plan relies on is not true, and nothing was run:", *lines])
            + f"\n  Correct the data, then run:\n  {command}"
        )


def notes(review: PlanReview, contract: str = "") -> dict[str, dict[str, Any]]:
    """Return what the ledger records with each revision: the reasons for skipped checks.

    Args:
        review: The review of the plan.
        contract: The reason for which held contracts run. Empty if none does.

    """
    unproven = {
        revision.id: {UNPROVEN: {"reason": finding.excused, "finding": finding.message}}
        for revision in review.revisions
        for finding in revision.findings
        if finding.rule == UNPROVEN and finding.excused
    }
    failed = [revision.rehearsed.fails for revision in _refused(review) if revision.rehearsed]
    skipped = {SKIPPED: {"reason": reason, "failed": failed[0]}} if failed and (reason := _reason()) else {}
    by_revision = {revision.id: unproven.get(revision.id, {}) | skipped for revision in review.revisions}
    for revision in review.revisions:
        if contract and revision.phase:
            by_revision[revision.id] |= {revision.phase: {"reason": contract}}
    return {id: reasons for id, reasons in by_revision.items() if reasons}


def _refused(review: PlanReview) -> Iterator[RevisionReview]:
    return (revision for revision in review.revisions if revision.rehearsed and revision.rehearsed.refused)


def _reason() -> str:
    reason = " ".join(os.environ.get(SKIP_REHEARSAL, "").split())
    if reason and (len(reason) < _SHORTEST or reason.isdigit() or reason.lower() in ("yes", "true")):
        raise PolicyError(
            f"{SKIP_REHEARSAL} is {reason[:80]!r}: the ledger keeps it as the reason, so say it in words, such as "
            f"{SKIP_REHEARSAL}='the script needs rows that only this database has'"
        )
    return reason


def errors_of(review: PlanReview) -> Iterator[tuple[str, Finding]]:
    """Return the findings that stop an update, each with the file of its revision.

    Findings in a downgrade stop nothing: a rollback is urgent, and an applied script cannot be edited.
    """
    if review.direction == Direction.DOWNGRADE:
        return
    for revision in review.revisions:
        findings = [*revision.findings, *(one for statement in revision.statements for one in statement.findings)]
        findings += revision.rehearsed.findings if revision.rehearsed else ()
        for finding in findings:
            if finding.severity is Severity.ERROR and not finding.excused:
                yield revision.file, finding


def _refuse_errors(review: PlanReview, configure: str, up: str) -> None:
    """Raise LintError if a finding stops the update.

    `configure` is the command that sets the severity of the rule `{rule}`. `up` runs the update.
    """
    errors = list(errors_of(review))
    if not errors:
        return
    lines = [f"lint found {counted(len(errors), 'error')}; nothing was run:"]
    for file, finding in errors[:_SHOWN]:
        lines.append(f"  {file}: {finding.rule}: {finding.message}")
        lines += [f"      {line}" for line in finding.suggestion.splitlines()]
    if len(errors) > _SHOWN:
        lines.append(f"  … {len(errors) - _SHOWN} more, in the preview")
    lines.append(f"  Do one of these, then run `{up}`:")
    lines += [f"    {line}" for line in _ways_on(review, errors[0][1], configure, up)]
    raise LintError("\n".join(lines))


def _ways_on(review: PlanReview, finding: Finding, configure: str, up: str) -> Iterator[str]:
    rule, excuse = finding.rule, f"# lint: allow {finding.rule}: REASON"
    sent = any(finding in statement.findings for revision in review.revisions for statement in revision.statements)
    where = "above the statement" if sent else "anywhere in the script"
    if rule in OF_PLAN:
        if finding.suggestion:
            yield "do what is suggested above"
    else:
        yield f"fix the script{' as suggested' if finding.suggestion else ''}, then: pulumi-alembic manifest"
    if rule == UNPROVEN:
        yield f"if it cannot wait, for this update only: {UNPROVEN_REASON}='why it cannot wait' {up}"
    elif rule != "bad-excuse":
        yield f"allow it, with a comment {where}: {excuse}; then: pulumi-alembic manifest"
    yield f"change the rule's severity for this stack: {configure.format(rule=rule)}"


def _not_approved(approved: str, digest: str, preview: str, up: str) -> NotApproved:
    """Return the error for an approval that is missing or differs from the plan's digest."""
    if (form := _DIGEST.fullmatch(approved)) and form[1] != DIGEST_FORMULA:
        version = "an older" if _number(form[1]) < _number(DIGEST_FORMULA) else "a newer"
        return NotApproved(
            f"approved by {version} version. Review it again:\n  {preview}\nThen:\n  {APPROVE}={digest} {up}"
        )
    return NotApproved(f"{_difference(approved, digest)}. Review it:\n  {preview}\nThen:\n  {APPROVE}={digest} {up}")


def _difference(approved: str, digest: str) -> str:
    if not approved:
        return "the pending revisions are not approved"
    if not _DIGEST.fullmatch(approved):
        return f"{approved!r} is not a digest of a plan: a preview prints it"
    different = differences(approved, digest)
    return f"the plan is not the one that was approved: {_joined(different)} changed since"


def _number(formula: str) -> int:
    return int(formula[1:-1])


def _joined(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "something"


def _refuse_losses(review: PlanReview, may_lose: Container[str], command: str) -> None:
    """Raise DataLoss if a revision would delete rows without permission.

    This check uses the statements of the plan, before the first revision. During the run `guard.Guard` checks each
    statement again. `command` runs the plan.
    """
    risks = {
        revision.id: revision.losses for revision in review.revisions if revision.losses and revision.id not in may_lose
    }
    if risks:
        listing = "\n".join(f"  {review.direction} {id}: {', '.join(lost)}" for id, lost in risks.items())
        raise DataLoss(
            f"the plan deletes data, and this stack does not allow it. Nothing was run:\n{listing}\n"
            f"  Save what is needed, then delete the rest:\n  {ALLOW_DATA_LOSS}={','.join(risks)} {command}"
        )
