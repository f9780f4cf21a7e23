"""Exceptions: comments in a script or its SQL that allow a finding, with a reason. Pure."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from functools import cached_property

from pulumi_alembic.review.lint.installed import is_rule, nearest
from pulumi_alembic.scripts.promotion import UNPROVEN, VARIABLE
from pulumi_alembic.scripts.revision import tree
from pulumi_alembic.sql.parser import ParseError, comments

__all__ = ["LintException", "LintExceptions", "in_sql"]

_FORM = "# lint: allow RULE: reason"
_MARK = re.compile(r"(?:#|--|/\*)\s*lint\s*:(?P<rest>.*)", re.IGNORECASE)
_EXCUSE = re.compile(r"\s*allow\s+(?P<rule>[\w-]+(?:/[\w-]+)?)\s*:\s*(?P<reason>\S.*?)\s*(?:\*/)?\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class LintException:
    """One exception.

    Attributes:
        line: The line of the comment in the script. 0 for a comment in SQL.
        problem: Why the comment allows nothing. Empty if it is valid.

    """

    line: int
    rule: str = ""
    reason: str = ""
    problem: str = ""


def in_sql(sql: str) -> list[LintException]:
    """Return the exceptions in the comments of a statement, without a line. Literals are not comments."""
    if "lint" not in sql.lower():
        return []
    try:
        return [exception for comment in comments(sql) if (exception := _exception(comment, 0))]
    except ParseError:
        return []


@dataclass(frozen=True)
class LintExceptions:
    """The exceptions of one script."""

    source: str

    @cached_property
    def all(self) -> tuple[LintException, ...]:
        """All exceptions in comments of the script, including invalid ones."""
        if "lint" not in self.source:
            return ()
        exceptions = []
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type == tokenize.COMMENT and (exception := _exception(token.string, token.start[0])):
                exceptions.append(exception)
        return tuple(exceptions)

    def at(self, line: int) -> tuple[LintException, ...]:
        """Return the exceptions on the lines of the Python statement at this line, or in comments directly above."""
        if not self.all or not line:
            return ()
        lines = self._lines_of(line)
        return tuple(exception for exception in self.all if exception.line in lines)

    def within(self, function: str) -> tuple[LintException, ...]:
        """Return the exceptions inside the function of this name."""
        if not self.all:
            return ()
        for node in self._tree.body:
            if isinstance(node, ast.FunctionDef) and node.name == function:
                return tuple(
                    exception for exception in self.all if node.lineno <= exception.line <= (node.end_lineno or 0)
                )
        return ()

    @cached_property
    def _tree(self) -> ast.Module:
        return tree(self.source)

    def _lines_of(self, line: int) -> range:
        first, last = line, line
        for node in ast.walk(self._tree):
            if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
                body = getattr(node, "body", None)
                end = body[0].lineno - 1 if body else (node.end_lineno or line)
                if line <= max(end, node.lineno):
                    first, last = node.lineno, max(end, node.lineno)
        text = self.source.splitlines()
        while first > 1 and text[first - 2].lstrip().startswith("#"):
            first -= 1
        return range(first, last + 1)


def _exception(comment: str, line: int) -> LintException | None:
    mark = _MARK.search(comment)
    if mark is None:
        return None
    match = _EXCUSE.match(mark["rest"])
    if match is None:
        reason = "it gives no reason" if re.match(r"\s*allow\s+[\w/-]+", mark["rest"]) else "it has another form"
        return LintException(line, problem=f"{reason}: write {_FORM}")
    if not is_rule(match["rule"]):
        return LintException(line, problem=f"there is no rule {match['rule']!r}; {nearest(match['rule'])}")
    if match["rule"] == UNPROVEN:
        problem = f"no script proves itself: {VARIABLE}='REASON' lets one update run it unproven"
        return LintException(line, problem=problem)
    return LintException(line, match["rule"], match["reason"])
