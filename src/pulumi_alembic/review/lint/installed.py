"""All lint rules by name: the built-in ones, and those of other installed distributions. Pure."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_alembic.review.lint.custom import LINT_API, LintFinding, LintRule, LintStatement
from pulumi_alembic.review.lint.rules import RULES, Rule, Scale
from pulumi_alembic.review.plan_review import Severity

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pulumi_alembic.review.lint.context import Draft

__all__ = ["InstalledRule", "RuleFailed", "installed", "is_rule", "nearest", "rule", "table"]

GROUP = "pulumi_alembic.lint"


class RuleFailed(Exception):
    """A rule of another distribution cannot be loaded, or raised an error. The text names it and the error."""


@dataclass(frozen=True)
class InstalledRule:
    """A rule that an entry point names, as `DISTRIBUTION/NAME`. It is loaded at its first use."""

    name: str
    distribution: str
    entry_point: EntryPoint

    def drafts(self, statement: LintStatement) -> list[Draft]:
        """Return the rule's findings in a statement. Raises RuleFailed if the rule raises an error."""
        check = self.loaded.check
        try:
            return [self._draft(draft) for draft in check(statement)]
        except (Exception, SystemExit) as error:
            raise self._failed(error) from None

    @cached_property
    def loaded(self) -> LintRule:
        """The rule. Raises RuleFailed unless the entry point is a rule for this version of the interface."""
        try:
            loaded = self.entry_point.load()
            if not isinstance(loaded, LintRule):
                raise TypeError(f"{self.entry_point.value} is no LintRule")
            if loaded.api != LINT_API:
                raise ValueError(f"it is written for api={loaded.api}, and this pulumi-alembic has api={LINT_API}")
            _levels(loaded)
        except (Exception, SystemExit) as error:
            raise self._failed(error) from None
        return loaded

    @property
    def rule(self) -> Rule:
        """The rule's name, severities and reason. A rule that cannot be loaded is an error with that reason."""
        try:
            levels = _levels(self.loaded)
            return Rule(self.name, Scale.SIZE if len(levels) > 1 else Scale.FIXED, levels, self.loaded.why)
        except RuleFailed as error:
            return Rule(self.name, Scale.FIXED, (Severity.ERROR,), str(error))

    def _draft(self, finding: object) -> Draft:
        from pulumi_alembic.review.lint.context import Draft

        if not isinstance(finding, LintFinding):
            raise TypeError(f"it returned {type(finding).__name__}, not LintFinding")
        tables = (finding.tables,) if isinstance(finding.tables, str) else finding.tables
        return Draft(self.name, str(finding.message), tuple(map(str, tables)), str(finding.suggestion))

    def _failed(self, error: BaseException) -> RuleFailed:
        raised = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        place = f" ({Path(raised[-1].filename).name}, line {raised[-1].lineno})" if raised else ""
        return RuleFailed(f"{self.name} of {self.distribution} failed: {type(error).__name__}: {error}{place}")


@cache
def installed() -> Mapping[str, InstalledRule]:
    """Return the rules of other distributions by name."""
    from importlib.metadata import entry_points

    rules = {}
    for entry in entry_points(group=GROUP):
        if entry.dist is not None:
            name = f"{_normal(entry.dist.name)}/{_normal(entry.name)}"
            rules[name] = InstalledRule(name, f"{entry.dist.name} {entry.dist.version}", entry)
    return dict(sorted(rules.items()))


def rule(name: str) -> Rule:
    """Return the rule of this name. Raises KeyError if there is none."""
    return RULES.get(name) or installed()[name].rule


def is_rule(name: object) -> bool:
    """Return whether a rule has this name."""
    return name in RULES or ("/" in str(name) and name in installed())


def nearest(name: str) -> str:
    """Return the rules with the most similar names or, if there are none, the command that lists all."""
    from difflib import get_close_matches

    close = get_close_matches(name, [*RULES, *installed()], n=3, cutoff=0.5)
    return f"the nearest: {', '.join(close)}" if close else "all of them: pulumi-alembic lint --rules"


def table() -> str:
    """Return the rules as a Markdown table."""
    return "\n".join(["| rule | severity | found by | why |", "|---|---|---|---|", *_lines()])


def _lines() -> Iterator[str]:
    by = {name: "squawk" if own_rule.by_squawk else "pulumi-alembic" for name, own_rule in RULES.items()}
    by |= {name: installed_rule.distribution for name, installed_rule in installed().items()}
    for name, finder in by.items():
        definition = rule(name)
        scale = "" if definition.scale is Scale.FIXED else f" ({definition.scale})"
        yield f"| `{name}` | {' / '.join(definition.levels)}{scale} | {finder} | {definition.why} |"


def _levels(found: LintRule) -> tuple[Severity, ...]:
    levels = (found.severity,) if isinstance(found.severity, str) else tuple(found.severity)
    if len(levels) not in (1, 3) or not set(levels) <= set(Severity):
        raise ValueError(f"severity must be {', '.join(Severity)}, or three of them, not {found.severity!r}")
    return tuple(map(Severity, levels))


def _normal(name: str) -> str:
    """Return a name as configurations and comments write it: in lower case, with hyphens between words."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
