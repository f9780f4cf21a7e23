"""How much a report tells: everything, or as much as fits, saying what it leaves out."""

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
    """A page of this detail does not fit."""


class Show(IntEnum):
    """How a revision is shown; CONSPICUOUS is in full where it has a finding, destroys or cannot be known."""

    ID = 0
    LINE = 1
    CONSPICUOUS = 2
    FULL = 3


@dataclass(frozen=True)
class Detail:
    """The most that is shown: characters of a statement or a line, rows of a list, revisions, bytes of a diagram."""

    show: Show
    sql: int
    width: int
    rows: int
    revisions: int
    diagram: int


# From everything to what fits whatever the plan is; the first that fits is taken.
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
    """One attempt at a report: its detail, and how many of each kind of thing it has left out so far.

    Raises TooLong as soon as it has shown more than `limit` characters.
    """

    detail: Detail
    limit: int
    left: Counter[str] = field(default_factory=Counter)
    _length: int = 0

    def rows(self, items: Sequence[T], word: str) -> Sequence[T]:
        """As many of the items as may be shown; the rest counts as left out."""
        return self._first(items, self.detail.rows, word)

    def revisions(self, items: Sequence[T]) -> Sequence[T]:
        """As many of the revisions as may be named; the rest counts as left out."""
        return self._first(items, self.detail.revisions, "revision")

    def plain(self, text: str) -> str:
        """Words of a script or a message, cut where they are too long for this page."""
        return self._counted(markdown.plain(text, self.detail.width))

    def code(self, text: str) -> str:
        """A name of a script or a message, cut where it is too long for this page."""
        return self._counted(markdown.code(text, self.detail.width))

    def block(self, text: str, language: str, word: str) -> str:
        """A block of code, cut where it is too long for this page, which then counts as cut short."""
        # A line end may be two characters; of the rest of a text of any size nothing could be shown.
        shown = markdown.visible(text[: 2 * self.detail.sql + 2])
        self.left[f"{word} cut short"] += len(shown) > self.detail.sql
        return self._counted(markdown.fence(shown, language, self.detail.sql))

    def drawing(self, tables: Sequence[TableChange]) -> str:
        """A diagram of the tables, as many as this page has room for; what is not drawn counts. Empty without any."""
        text, left, shortened = diagram(tables, self.detail.diagram)
        self.left["table not drawn"] += left
        self.left["diagram without columns that stay"] += shortened
        return self._counted(markdown.fence(text, "mermaid", len(text))) if text else ""

    @property
    def omissions(self) -> str:
        """What the page leaves out, in words; empty where it shows everything."""
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
