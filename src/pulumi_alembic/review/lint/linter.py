"""Lint the revisions of a plan: run squawk and our own checks, set severities by table size, apply exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pulumi_alembic.output.redact import redact
from pulumi_alembic.output.wording import few
from pulumi_alembic.review.lint import installed, practice, rows
from pulumi_alembic.review.lint.context import Draft, LintContext
from pulumi_alembic.review.lint.custom import LintStatement
from pulumi_alembic.review.lint.exceptions import LintException, LintExceptions, in_sql
from pulumi_alembic.review.lint.recipes import avoiding, recipe
from pulumi_alembic.review.lint.rules import BROKEN, RULES, Scale
from pulumi_alembic.review.lint.settings import OFF, Settings
from pulumi_alembic.review.lint.sizes import Size, size_of
from pulumi_alembic.review.lint.squawk import Objection, drafts_of, objections
from pulumi_alembic.review.lint.statement import check
from pulumi_alembic.review.plan_review import Finding, Severity
from pulumi_alembic.scripts.phases import BREAKS, NEEDLESS
from pulumi_alembic.scripts.plan import Direction
from pulumi_alembic.scripts.promotion import UNPROVEN
from pulumi_alembic.scripts.revision import CONTRACT, EXPAND
from pulumi_alembic.sql.catalog import Catalog, Measure
from pulumi_alembic.sql.effects import play
from pulumi_alembic.sql.locks import Effects
from pulumi_alembic.sql.outside_transaction import backfilled
from pulumi_alembic.sql.parser import ParseError, parse, split

if TYPE_CHECKING:
    from pulumi_alembic.scripts.revision import Revision
    from pulumi_alembic.sql.parser import Node
    from pulumi_alembic.sql.running_code import Breakage, RunningCode

__all__ = ["Linter", "RevisionLint", "Statements"]

Statements = Sequence[tuple[str, bool]]
"""The statements of one revision: the text, and whether it runs outside of the transaction."""

_SAYS_TOO = {
    "adding-serial-field": {"prefer-identity"},
    "ban-truncate-cascade": {"truncate"},
    "require-concurrent-reindex": {"blocking-scan"},
    "ban-alter-domain-with-add-constraint": {"blocking-scan"},
}
"""By rule, the rules whose findings in the same statement it covers."""

_SHOWN = 5
_CONTRACT_ADVICE = (
    "# if no code that uses it runs any longer when this revision does:\n"
    f'phase = "{CONTRACT}"\n'
    "# otherwise add the new form in this revision, and remove the old one in a later contract"
)
_RECIPES = ("pulumi-alembic new --help",)

_NEVER_BACK = {"grant-to-public", "security-definer-search-path"}
"""Rules that also matter in a downgrade. Otherwise a downgrade restores what existed, whatever its quality."""


@dataclass(frozen=True)
class Linter:
    """Lints the revisions of one plan.

    Attributes:
        there: The catalog before the plan. None if there is no database.
        texts: All statements of the plan, which squawk reads in one process.
        static: Whether no database is meant, so that no table's size is known.
        measure: Returns the bytes of a table for which the server has no statistics.

    Raises:
        MigrationError: squawk cannot be run.

    """

    settings: Settings
    there: Catalog | None
    direction: Direction
    texts: tuple[str, ...]
    static: bool = False
    measure: Measure = lambda table: None
    broken: dict[str, str] = field(default_factory=dict)
    """By name, the errors of rules that failed in an earlier statement of the plan."""

    @cached_property
    def said(self) -> Mapping[str, tuple[Objection, ...]]:
        """The objections of squawk to each statement."""
        return objections(piece for text in self.texts for piece in _pieces(text))

    def revision(self, script: Revision, before: Catalog | None, running: RunningCode | None = None) -> RevisionLint:
        """Return the lint of one revision.

        Args:
            script: The revision.
            before: The catalog before it.
            running: The code that runs meanwhile. None if there is none.

        """
        return RevisionLint(self, script, before or Catalog(), running)

    def custom(self, statement: LintStatement) -> Iterator[Draft]:
        """Return the findings of other distributions' rules, except rules that are off or failed before."""
        for name, rule in installed.installed().items():
            if name not in self.broken and self.settings.severities.get(name) != OFF:
                try:
                    yield from rule.drafts(statement)
                except installed.RuleFailed as error:
                    self.broken[name] = str(error)
                    advice = f"# fix or remove {rule.distribution}, or set the severity of {name} to off"
                    yield Draft(BROKEN, str(error), (), advice)

    def size(self, table: str) -> Size:
        """Return the size of a table that the plan's revision has not created."""
        return size_of(table, self.there, self.settings, self.measure, static=self.static)


@dataclass
class RevisionLint:
    """Lints the statements of one revision in order, and then the revision as a whole.

    Attributes:
        before: The catalog before the revision.
        running: The code of the previous version, which runs meanwhile. None if there is none.
        follows: Whether the revision builds on a contract, so that it is allowed to be one without need.

    """

    linter: Linter
    script: Revision
    before: Catalog
    running: RunningCode | None = None
    follows: bool = False
    _broken: tuple[Breakage, ...] = ()
    _used: set[LintException] = field(default_factory=set)
    _said: list[tuple[str, str]] = field(default_factory=list)
    """Problems of exceptions: the rule about exceptions, and the text."""

    @property
    def breaks(self) -> tuple[str, ...]:
        """What the revision breaks for running code. Complete after `whole`."""
        return tuple(text for *_, text in self._broken)

    @cached_property
    def _names_before(self) -> frozenset[str]:
        """The relations before the revision, by their names before the plan."""
        return frozenset(relation.was or relation.name for relation in self.before.relations.values())

    @cached_property
    def _exceptions(self) -> LintExceptions:
        return LintExceptions(self.script.source)

    def statement(
        self, sql: str, line: int, seen: Effects, catalog: Catalog | None, *, outside: bool
    ) -> tuple[Finding, ...]:
        """Return the findings of one statement.

        Args:
            sql: The text, which can contain several statements.
            line: The line of the script that sends it. 0 if it is not known.
            seen: The static analysis of the text.
            catalog: The catalog before the statement. None if it is not known.
            outside: Whether it runs outside of the transaction.

        """
        catalog = catalog or Catalog()
        pieces = _pieces(sql)
        drafts: dict[tuple[str, tuple[str, ...], str], Draft] = {}
        for piece in pieces:
            does, behind = (seen, catalog) if len(pieces) == 1 else play(piece, catalog)
            commands = self._recipes(self._follow(piece, does, catalog))
            for draft in _once(self._drafts(piece, LintContext(catalog, does, outside, self._made))):
                instead = "\n".join(filter(None, [draft.instead, *(avoiding(draft, commands) if self.running else ())]))
                drafts[draft.rule, draft.tables, draft.what] = replace(draft, instead=instead)
            catalog = behind
        exceptions = [*self._exceptions.at(line), *in_sql(sql)]
        self._said += [
            ("bad-excuse", f"line {line}: {exception.problem}")
            for exception in exceptions
            if exception.problem and not exception.line
        ]
        findings = [judged for draft in drafts.values() if (judged := self._finding(draft)) is not None]
        self._judge_own(exceptions, {finding.rule for finding in findings}, line)
        return tuple(self._excused(finding, exceptions) for finding in findings)

    def whole(self, sent: Statements, runs_python: str, drafts: Iterable[Draft] = ()) -> tuple[Finding, ...]:
        """Return the findings of the revision as a whole, after those of its statements.

        Args:
            sent: The statements.
            runs_python: Why the statements are not known. Empty if they are known.
            drafts: Drafts about the plan that belong to this revision.

        """
        up = self.linter.direction is Direction.UPGRADE
        all_drafts = list(drafts)
        if runs_python and self.linter.static:
            all_drafts.append(Draft("runs-python", f"none of its SQL was looked at, as it runs Python: {runs_python}"))
        if up:
            self._broken = self.running.revision() if self.running else ()
            all_drafts += self._of_phase(sure=bool(sent) and not runs_python)
            statements = practice.Sent([sql for sql, _ in sent], bool(runs_python))
            all_drafts += practice.check_script(self.script, statements)
        findings = [judged for draft in all_drafts if (judged := self._finding(draft)) is not None]
        excused = [self._excused(finding, [*self._exceptions.all, *self._for_this_update()]) for finding in findings]
        return (*excused, *self._of_exceptions(judge=not runs_python))

    def _follow(self, sql: str, does: Effects, catalog: Catalog) -> list[Breakage]:
        """Return what the statement breaks for running code."""
        breakages: list[Breakage] = []
        if self.running is not None:
            with suppress(ParseError):
                for node in parse(sql, shared=True):
                    breakages += self.running.statement(node, does.destroys, catalog)
        return breakages

    def _recipes(self, breakages: Iterable[Breakage]) -> list[str]:
        """Return the commands of recipes that write what the breakages are about."""
        named = [recipe(breakage, self.running.schema) for breakage in breakages] if self.running else []
        return [*dict.fromkeys(filter(None, named))]

    def _of_phase(self, *, sure: bool) -> Iterator[Draft]:
        """Return what is wrong with the phase in the script. `sure` is whether all statements are known."""
        if self.script.phase == EXPAND and self.breaks:
            commands = self._recipes(self._broken)[:_SHOWN] or _RECIPES
            advice = "\n".join([_CONTRACT_ADVICE, *(f"# a recipe writes both: {command}" for command in commands)])
            yield Draft(BREAKS, few(self.breaks, _SHOWN), (), advice)
        if self.script.phase == CONTRACT and self.running and not self.breaks and sure and not self.follows:
            yield Draft(NEEDLESS, "code of the previous version runs on this schema", (), '# remove phase = "contract"')

    def _drafts(self, sql: str, context: LintContext) -> list[Draft]:
        try:
            statements = parse(sql, shared=True)
        except ParseError as error:
            return [Draft("syntax-error", f"PostgreSQL 18's parser refuses it, {error.args[0]}")]
        drafts = [draft for statement in statements for draft in check(context, statement)]
        if backfilled(sql):
            drafts += rows.endless(context, statements[0])
        if installed.installed():
            # The code of another distribution can change its trees, so it gets its own.
            own = parse(sql)
            drafts += [draft for node in own for draft in self.linter.custom(self._seen(sql, node, context))]
        drafts += drafts_of(self.linter.said.get(sql, ()), context, statements[0] if statements else None)
        if self.linter.direction is Direction.DOWNGRADE:
            drafts = [draft for draft in drafts if _matters_in_a_downgrade(draft)]
        return [moved for draft in drafts if (moved := _on_others(draft, context)) is not None]

    def _seen(self, sql: str, node: Node, context: LintContext) -> LintStatement:
        direction = str(self.linter.direction)
        return LintStatement(sql, node, context.catalog, direction, not context.outside, context.new)

    def _finding(self, draft: Draft) -> Finding | None:
        rule = installed.rule(draft.rule)
        if self.script.replaces and draft.rule != UNPROVEN:
            # The statements were judged in the scripts that a squash replaced, and none of them runs with older tables.
            return None
        sizes = [self.linter.size(table) for table in draft.tables] if rule.scale is Scale.SIZE else []
        worst = max(sizes, key=lambda measured: measured.situation, default=None)
        severity = self.linter.settings.severity(draft.rule, worst.situation if worst else 0)
        if severity is None:
            return None
        size = f" ({worst.text})" if worst else ""
        text = redact(f"{draft.what}{size}: {rule.why}")
        return Finding(draft.rule, severity, text, redact(draft.instead), tables=draft.tables)

    def _excused(self, finding: Finding, exceptions: Iterable[LintException]) -> Finding:
        for exception in exceptions:
            if exception.rule == finding.rule:
                self._used.add(exception)
                return replace(finding, excused=redact(exception.reason))
        return finding

    def _for_this_update(self) -> list[LintException]:
        """Return exceptions that the person who runs the update gives, outside of scripts."""
        lower = self.linter.settings.lower
        return [LintException(0, UNPROVEN, lower.reason)] if lower and lower.reason else []

    def _judge_own(self, exceptions: Iterable[LintException], rules: set[str], line: int) -> None:
        """Report exceptions in SQL that match no finding of their statement."""
        for exception in exceptions:
            if (
                not exception.line
                and not exception.problem
                and exception.rule not in rules
                and self._is_on(exception.rule)
            ):
                self._said.append(
                    ("unused-excuse", f"line {line}: `lint: allow {exception.rule}` in its SQL matches no finding")
                )

    def _of_exceptions(self, *, judge: bool) -> Iterator[Finding]:
        bad = [exception for exception in self._exceptions.all if exception.problem]
        self._said += [("bad-excuse", f"line {exception.line}: {exception.problem}") for exception in bad]
        for exception in self._exceptions.within(str(self.linter.direction)) if judge else ():
            # Only a rehearsal shows whether a downgrade restores the schema.
            shown = exception.rule == "irreversible-downgrade"
            if not exception.problem and exception not in self._used and self._is_on(exception.rule) and not shown:
                self._said.append(
                    ("unused-excuse", f"line {exception.line}: `lint: allow {exception.rule}` matches no finding")
                )
        for rule, text in dict.fromkeys(self._said):
            severity = self.linter.settings.severity(rule)
            if severity is not None:
                yield Finding(rule, severity, f"{text}: {RULES[rule].why}")

    def _made(self, catalog: Catalog) -> frozenset[str]:
        """Return the relations that the revision has created, even under another relation's former name."""
        first = _first_names(catalog)
        return frozenset(name for name in catalog.relations if first.get(name, name) not in self._names_before)

    def _is_on(self, rule: str) -> bool:
        on = rule not in self.linter.broken and self.linter.settings.severity(rule) is not None
        return on and installed.rule(rule).scale is not Scale.STACK


def _pieces(sql: str) -> list[str]:
    if ";" not in sql.rstrip().rstrip(";"):
        return [sql]
    try:
        return split(sql)
    except ParseError:
        return [sql]


def _once(drafts: list[Draft]) -> list[Draft]:
    covered = {less for draft in drafts for less in _SAYS_TOO.get(draft.rule, ())}
    return [draft for draft in drafts if draft.rule not in covered]


def _first_names(catalog: Catalog) -> dict[str, str]:
    """Return the names before the plan of renamed relations. A new relation with a former name gets an empty text."""
    renamed = {relation.name: relation.was for relation in catalog.relations.values() if relation.was}
    return {**dict.fromkeys(renamed.values(), ""), **renamed}


def _on_others(draft: Draft, context: LintContext) -> Draft | None:
    """Return the draft without tables that the revision has created. None if no table remains.

    Other sessions do not use a table yet that the revision has created. The remaining tables get the names from before
    the plan, by which their sizes are known.
    """
    if installed.rule(draft.rule).scale is not Scale.SIZE:
        return draft
    first = _first_names(context.catalog)
    tables = tuple(first.get(table, table) for table in draft.tables if table not in context.new)
    return replace(draft, tables=tables) if tables else None


def _matters_in_a_downgrade(draft: Draft) -> bool:
    rule = installed.rule(draft.rule)
    return rule.scale is Scale.SIZE or rule.levels[0] is Severity.ERROR or rule.name in _NEVER_BACK
