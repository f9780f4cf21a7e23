"""An error that nobody excused stops an update before its revisions run; never one that goes back. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pulumi_alembic.account import Account, Finding, Severity
from pulumi_alembic.errors import LintError
from pulumi_alembic.lint.rules import OF_PLAN
from pulumi_alembic.plan import Direction
from pulumi_alembic.promotion import UNPROVEN, VARIABLE

__all__ = ["errors_of", "refuse"]

_SHOWN = 5


def errors_of(account: Account) -> Iterator[tuple[str, Finding]]:
    """The findings that stop an update, each with the file of its revision.

    Going back is what one does where something is wrong, and an applied script can neither be mended nor excused: what
    is found there is shown, and stops nothing.
    """
    if account.direction == Direction.DOWNGRADE:
        return
    for revision in account.revisions:
        found = [*revision.findings, *(one for each in revision.statements for one in each.findings)]
        found += revision.rehearsed.findings if revision.rehearsed else ()
        for finding in found:
            if finding.severity is Severity.ERROR and not finding.excused:
                yield revision.file, finding


def refuse(account: Account, configure: str, up: str) -> None:
    """Raise LintError, with the ways on, where a finding stops the update.

    `configure` is the command that sets the severity of the rule `{rule}`, and `up` what is typed then.
    """
    found = list(errors_of(account))
    if not found:
        return
    lines = [f"lint stops {len(found)} thing{'' if len(found) == 1 else 's'} before anything runs:"]
    for file, finding in found[:_SHOWN]:
        lines.append(f"  {file}: {finding.rule}: {finding.message}")
        lines += [f"      {line}" for line in finding.suggestion.splitlines()]
    if len(found) > _SHOWN:
        lines.append(f"  … {len(found) - _SHOWN} more, in the preview")
    lines.append(f"  one of these, then {up}:")
    lines += [f"    {each}" for each in _ways_on(account, found[0][1], configure, up)]
    raise LintError("\n".join(lines))


def _ways_on(account: Account, finding: Finding, configure: str, up: str) -> Iterator[str]:
    rule, excuse = finding.rule, f"# lint: allow {finding.rule}: REASON"
    sent = any(finding in each.findings for revision in account.revisions for each in revision.statements)
    where = "above the statement" if sent else "anywhere in the script"
    if rule in OF_PLAN:
        yield "do what is shown"
    else:
        yield f"mend the script{', as shown' if finding.suggestion else ''}, and: pulumi-alembic manifest"
    if rule == UNPROVEN:
        yield f"where it cannot wait, for this one update: {VARIABLE}='why it cannot wait' {up}"
    elif rule != "bad-excuse":
        yield f"excuse it, in a comment {where}: {excuse}; and: pulumi-alembic manifest"
    yield f"judge the rule otherwise in this stack: {configure.format(rule=rule)}"
