"""An error that nobody excused stops an update before its revisions run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pulumi_alembic.account import Account, Finding, Severity
from pulumi_alembic.errors import LintError

__all__ = ["errors_of", "refuse"]

_SHOWN = 5


def errors_of(account: Account) -> Iterator[tuple[str, Finding]]:
    """The findings that stop an update, each with the file of its revision."""
    for revision in account.revisions:
        found = [*revision.findings, *(one for each in revision.statements for one in each.findings)]
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
    rule = found[0][1].rule
    lines.append(f"  one of these, then {up}:")
    if any(file == each.file and not each.from_ledger for file, _ in found for each in account.revisions):
        excuse = f"# lint: allow {rule}: REASON"
        lines += [
            "    mend the script, as shown, and: pulumi-alembic manifest",
            f"    excuse it, in a comment above the statement: {excuse}; and: pulumi-alembic manifest",
        ]
    lines += [
        f"    judge the rule otherwise in this stack: {configure.format(rule=rule)}",
    ]
    raise LintError("\n".join(lines))
