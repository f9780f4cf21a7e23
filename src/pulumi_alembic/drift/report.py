"""Differences as texts: for each object what is expected, what was found, and the statements that fix it.

Pure functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import unified_diff

from pulumi_alembic.drift.difference.compare import Change, Difference
from pulumi_alembic.drift.difference.snapshot import Item
from pulumi_alembic.drift.repair.script import repair, repair_rename, script
from pulumi_alembic.drift.repair.statement import Statement
from pulumi_alembic.output.printable import printable
from pulumi_alembic.output.wording import rest
from pulumi_alembic.sql.outside_transaction import printable_sql

__all__ = ["NOTHING", "ReportedDifference", "lines", "listed", "psql_script", "render", "reported"]

NOTHING = "nothing"

_SHOWN = 40
_LONGEST = 30  # lines of one text


@dataclass(frozen=True)
class ReportedDifference:
    """One difference as texts.

    Attributes:
        mend: lines of the statements that fix it, with comments about what they cannot restore.

    """

    name: str
    expected: str
    found: str
    mend: tuple[str, ...] = ()

    @property
    def sides(self) -> list[str]:
        """What is expected and what was found, as lines."""
        return [*_labelled("expected: ", self.expected), *_labelled("found:    ", self.found)]

    @property
    def lines(self) -> list[str]:
        """All of it as lines."""
        return [*self.sides, *self.mend]


def reported(whole: Difference) -> list[ReportedDifference]:
    """Return each difference. Parts that appeared or disappeared with another object are included in that."""
    renamed = [
        _printable(
            str(rename.expected),
            "this name",
            f"the name {rename.found.name}",
            tuple(render(repair_rename(rename, whole))),
        )
        for rename in whole.renames
    ]
    return [*renamed, *(_reported(change, whole) for change in whole.whole)]


def lines(differences: Sequence[ReportedDifference]) -> dict[str, list[str]]:
    """Return the differences by name, for the properties of a resource.

    After 40, the last entry says how many more there are.
    """
    shown = {difference.name: difference.lines for difference in differences[:_SHOWN]}
    if len(differences) > _SHOWN:
        shown[f"… {len(differences) - _SHOWN} more"] = ["all of them: pulumi-alembic drift"]
    return shown


def listed(differences: Iterable[tuple[str, Sequence[str]]], shown: int = 20, of: int | None = None) -> list[str]:
    """Return each difference as its name and its indented lines, and how many more there are.

    Args:
        differences: names and lines.
        shown: the most differences to show.
        of: the total number, if `differences` are only a part.

    """
    named = list(differences)
    below = [line for name, lines in named[:shown] for line in (name, *(f"  {line}" for line in lines))]
    return [*below, *rest(len(named) if of is None else of, shown)]


def render(statements: Iterable[Statement]) -> Iterator[str]:
    """Yield the lines of the statements, each after a comment about what it cannot restore."""
    for statement in statements:
        if statement.note:
            # A name in it can contain a line break, after which the text would not be a comment.
            yield f"-- {' '.join(printable(statement.note).splitlines())}"
        if statement.sql:
            yield from f"{printable_sql(statement.sql)};".split("\n")


def psql_script(whole: Difference, title: str) -> str:
    """Return one transaction with all repairs in their order, each as the role that is allowed to run it.

    Args:
        whole: the difference.
        title: what the script does, for its first line.

    """
    return "\n".join([_HEAD.format(title=title), *_script_lines(whole), "COMMIT;"]) + "\n"


_HEAD = """\
-- {title} Run it as an admin who can become the owner:
--   psql --no-psqlrc --set ON_ERROR_STOP=1 --file FILE
BEGIN;
SET LOCAL search_path = '';
SET LOCAL check_function_bodies = off;"""


def _script_lines(whole: Difference) -> Iterator[str]:
    role = ""
    for statement in script(whole):
        if statement.sql and statement.role != role:
            role = statement.role
            yield f"SET LOCAL ROLE {role};" if role else "RESET ROLE;"
        yield from render([statement])


def _reported(change: Change, whole: Difference) -> ReportedDifference:
    parts = whole.parts.get(change.key, [])
    statements = [*repair(change, whole), *(statement for part in parts for statement in repair(part, whole))]
    repairs = tuple(render(sorted(statements, key=lambda statement: statement.rank)))
    counts = Counter(part.item.kind for part in parts if part.item.kind != "owner")
    more = f", with {', '.join(_counted(number, kind) for kind, number in counts.items())}" if counts else ""
    if change.expected is None:
        return _printable(str(change.item), NOTHING, _whole(change.item) + more, repairs)
    if change.found is None:
        return _printable(str(change.item), _whole(change.item) + more, NOTHING, repairs)
    return _printable(str(change.item), *_both(change.expected, change.found), repairs)


def _printable(name: str, expected: str, found: str, repairs: tuple[str, ...]) -> ReportedDifference:
    return ReportedDifference(printable(name), printable(expected), printable(found), repairs)


def _both(expected: Item, found: Item) -> tuple[str, str]:
    """Return the facts that differ, for each side. Of a long text only the differing lines."""
    keys = [
        key
        for key in {**expected.facts, **found.facts}
        if expected.facts.get(key) != found.facts.get(key) and key != "usual storage"
    ]
    sides = []
    for side, other in ((expected, found), (found, expected)):
        texts = [_fact(key, side.facts.get(key), other.facts.get(key)) for key in keys]
        sides.append(", ".join(texts))
    return sides[0], sides[1]


def _fact(key: str, value: object, other: object) -> str:
    label = "" if key in ("definition", "type", "query", "value", "owner", "text", "rights") else f"{key} "
    if isinstance(value, str) and isinstance(other, str) and value.count("\n") > 1:
        changed = unified_diff(other.splitlines(), value.splitlines(), lineterm="", n=0)
        return "\n".join(line[1:].strip() for line in changed if line[0] == "+" and not line.startswith("+++")) or "…"
    if isinstance(value, bool) or value is None:
        return key if value else _LACKING.get(key, f"no {key}")
    return f"{label}{_plain(value)}"


_LACKING = {"not null": "null allowed"}


def _whole(item: Item) -> str:
    """Return a short text of an item."""
    facts = {
        key: value for key, value in item.facts.items() if value is not False and key not in _OWN.get(item.kind, ())
    }
    for key in ("definition", "query"):
        if key in facts:
            return str(facts[key])
    texts = [key if value is True else _fact(key, value, None) for key, value in facts.items() if key not in _NAMES]
    return " ".join(texts) or f"the {item.kind}"


_NAMES = ("table", "name", "of", "object", "kind", "noun", "column", "grantee", "role", "member", "setting", "database",
          "schema", "owned by", "composite", "usual", "domain", "on",
          "within")  # fmt: skip
_OWN = {"role": ("connection limit",)}


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(key if item is False else f"{key} with grant option" if item is True else f"{key} {item}"
                         for key, item in value.items()) or NOTHING  # fmt: skip
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _counted(number: int, kind: str) -> str:
    plural = {"index": "indexes", "policy": "policies"}.get(kind, kind if kind.endswith("s") else f"{kind}s")
    return f"{number} {kind if number == 1 else plural}"


def _labelled(label: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.strip().splitlines() or [""]):
        if number == _LONGEST:
            yield f"{' ' * len(label)}…"
            return
        yield f"{label if number == 0 else ' ' * len(label)}{line}"
