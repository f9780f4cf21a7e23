"""The level of detail of a report: everything, or as much as fits, with counts of what is omitted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

from pulumi_alembic.output.wording import counted
from pulumi_alembic.review.report import markdown
from pulumi_alembic.review.report.diagram import diagram
from pulumi_alembic.sql.tables import TableChange

__all__ = ["DETAILS", "Detail", "Page", "Show", "TooLong"]

T = TypeVar("T")


class TooLong(Exception):
    """A page with this detail does not fit."""


class Show(IntEnum):
    """How a revision is shown. CONSPICUOUS shows it in full if it has a finding, deletes data or cannot be known."""

    ID = 0
    LINE = 1
    CONSPICUOUS = 2
    FULL = 3


@dataclass(frozen=True)
class Detail:
    """Limits of a page: characters of a statement and of a line, rows of a list, revisions, bytes of a diagram."""

    show: Show
    sql: int
    width: int
    rows: int
    revisions: int
    diagram: int


# From everything to a detail that fits for every plan. The first that fits is used.
DETAILS = (
    Detail(Show.FULL, sql=1_000_000, width=2_000, rows=1_000_000, revisions=1_000_000, diagram=48_000),
    Detail(Show.FULL, sql=8_000, width=1_000, rows=1_000, revisions=1_000_000, diagram=30_000),
    Detail(Show.FULL, sql=2_000, width=500, rows=500, revisions=1_000_000, diagram=20_000),
    Detail(Show.FULL, sql=500, width=300, rows=200, revisions=1_000_000, diagram=15_000),
    Detail(Show.FULL, sql=150, width=200, rows=100, revisions=1_000_000, diagram=10_000),
    Detail(Show.CONSPICUOUS, sql=2_000, width=200, rows=200, revisions=1_000_000, diagram=10_000),
    Detail(Show.CONSPICUOUS, sql=500, width=200, rows=100, revisions=1_000_000, diagram=8_000),
    Detail(Show.LINE, sql=500, width=120, rows=50, revisions=1_000_000, diagram=6_000),
    Detail(Show.LINE, sql=300, width=60, rows=30, revisions=1_000_000, diagram=4_000),
    Detail(Show.ID, sql=200, width=60, rows=20, revisions=1_000_000, diagram=3_000),
    Detail(Show.ID, sql=100, width=50, rows=10, revisions=500, diagram=2_000),
    Detail(Show.ID, sql=50, width=40, rows=5, revisions=50, diagram=0),
    Detail(Show.ID, sql=40, width=30, rows=3, revisions=10, diagram=0),
)


@dataclass
class Page:
    """One attempt at a report: its detail, and the number of omitted things of each kind.

    Raises:
        TooLong: The page has more than `limit` characters.

    """

    detail: Detail
    limit: int
    left: Counter[str] = field(default_factory=Counter)
    _length: int = 0

    def rows(self, items: Sequence[T], word: str) -> Sequence[T]:
        """Return as many items as fit into a list. The others count as omitted."""
        return self._first(items, self.detail.rows, word)

    def revisions(self, items: Sequence[T]) -> Sequence[T]:
        """Return as many revisions as are named. The others count as omitted."""
        return self._first(items, self.detail.revisions, "revision")

    def plain(self, text: str) -> str:
        """Return words of a script or a message, cut to the width of this page."""
        return self._counted(markdown.plain(text, self.detail.width))

    def code(self, text: str) -> str:
        """Return a name in a script or a message as code, cut to the width of this page."""
        return self._counted(markdown.code(text, self.detail.width))

    def block(self, text: str, language: str, word: str) -> str:
        """Return a block of code, cut to this page's limit. A cut block is counted."""
        # A line end can be two characters. A text can be huge: read no more of it than can be shown.
        shown = markdown.visible(text[: 2 * self.detail.sql + 2])
        self.left[f"{word} cut short"] += len(shown) > self.detail.sql
        return self._counted(markdown.fence(shown, language, self.detail.sql))

    def drawing(self, tables: Sequence[TableChange]) -> str:
        """Return a diagram of as many tables as fit. Omitted tables are counted. Empty if there are none."""
        text, left, shortened = diagram(tables, self.detail.diagram)
        self.left["table not drawn"] += left
        self.left["diagram without columns that stay"] += shortened
        return self._counted(markdown.fence(text, "mermaid", len(text))) if text else ""

    @property
    def omissions(self) -> str:
        """What the page omits, in words. Empty if it shows everything."""
        return ", ".join(_omission(word, number) for word, number in self.left.items() if number)

    def _counted(self, text: str) -> str:
        self._length += len(text)
        if self._length > self.limit:
            raise TooLong
        return text

    def _first(self, items: Sequence[T], most: int, word: str) -> Sequence[T]:
        self.left[word] += max(len(items) - most, 0)
        return items[:most]


def _omission(word: str, number: int) -> str:
    noun, _, done = word.partition(" ")
    return f"{counted(number, noun)} {done or 'left out'}"
