"""The tables before and after a plan as a Mermaid diagram that marks the changes. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pulumi_alembic.sql.tables import ColumnChange, ForeignKey, TableChange, TableState

__all__ = ["MOST", "diagram", "label", "type_word", "word"]

_LIMITED = re.compile(r"([a-z][a-z0-9_.]*)(\(\d+(?:,\d+)?\))?((?:\[\])*)")
_KEY_WORD = re.compile(r"(?ai)(?:pk|fk|uk)\b")
_PLAIN = re.compile(r"_*[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)*")
_OPENING = re.compile(r"(?<![A-Za-z0-9_])_+")
# Characters that look like a comma and a space, but that Mermaid accepts in a word.
_COMMA, _SPACE = "\u201a", "\u202f"
_HIDDEN = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def label(text: str) -> str:
    """Return the text in quotes, as a table's label, a column's comment or a key's name.

    Invisible characters are escaped. A space is written as an entity, because `direction TB` is a command anywhere in a
    line.
    """
    return '"' + "".join(_seen(character) for character in text) + '"'


def word(name: str) -> str:
    """Return the name of a column as a word. Other characters become their code points in hexadecimal: `-2e-`."""
    written = "".join(map(_written, name))
    if not _PLAIN.fullmatch(written):
        written = _OPENING.sub(lambda match: "".join(map(_escaped, match.group())), written)
    if written and (written[0].isalpha() or written[0] == "_") and not _KEY_WORD.match(written):
        return written
    # No name is written with a `-` as its second character, so this word cannot be that of another name.
    rest = written if written.startswith("-") else _escaped(name[0]) + written[1:] if name else ""
    return f"x-{rest}"


def type_word(type_: str) -> str:
    """Return a type as a word, with its limits."""
    match = _LIMITED.fullmatch(type_)
    if not match:
        return word(type_ or "?")
    name, limits, array = match.groups()
    return f"{word(name)}{(limits or '').replace(',', _COMMA)}{array}"


def _written(character: str) -> str:
    if character == " ":
        return _SPACE
    plain = character.isascii() and (character.isalnum() or character == "_")
    letter = "\u00c0" <= character <= "\uffff" and character.isalpha()
    return character if plain or letter else _escaped(character)


def _escaped(character: str) -> str:
    return f"-{ord(character):x}-"


def _seen(character: str) -> str:
    if character == "." or (character.isascii() and character.isalnum()):
        return character
    hidden = unicodedata.category(character) in _HIDDEN or character in "⟨⟩"
    shown = f"⟨U+{ord(character):04X}⟩" if hidden else character
    return "".join(sign if sign.isascii() and sign.isalnum() else f"#{ord(sign)};" for sign in shown)


MOST = 48_000
"""Characters of a diagram. Mermaid draws at most 50,000 (maxTextSize), and at most 500 keys."""

_EDGES = 500
_COLOURS = {
    "new": "fill:#dafbe1,stroke:#1a7f37,color:#1f2328",
    "changed": "fill:#fff8c5,stroke:#9a6700,color:#1f2328",
    "dropped": "fill:#ffebe9,stroke:#cf222e,color:#1f2328",
}


def diagram(tables: Sequence[TableChange], most: int = MOST) -> tuple[str, int, bool]:
    """Return the diagram, the number of omitted tables, and whether unchanged columns are omitted.

    To fit into `most` bytes, unchanged tables are omitted first, then unchanged columns, then tables from the end. The
    text is empty if no table fits.
    """
    changed = [table for table in tables if table.change]
    for shown, whole in ((tables, True), (changed, True), (changed, False)):
        text = _drawn(shown, whole=whole)
        if _fits(text, most):
            return text, len(tables) - len(shown), not whole
    fewer, more = 0, len(changed)
    while more - fewer > 1:
        middle = (fewer + more) // 2
        fewer, more = (middle, more) if _fits(_drawn(changed[:middle], whole=False), most) else (fewer, middle)
    return _drawn(changed[:fewer], whole=False) if fewer else "", len(tables) - fewer, bool(fewer)


def _fits(text: str, most: int) -> bool:
    return len(text.encode()) <= most and text.count("}o--") + text.count("|o--") <= _EDGES


def _drawn(tables: Sequence[TableChange], *, whole: bool) -> str:
    ids = {table.name: f"t{number}" for number, table in enumerate(tables, 1)}
    lines = ["erDiagram"]
    for table in tables:
        lines += _table(table, ids[table.name], whole=whole)
    for table in tables:
        lines += _keys(table, ids)
    for change, colours in _COLOURS.items():
        if marked := ",".join(ids[table.name] for table in tables if table.change == change):
            lines += [f"    classDef {change} {colours}", f"    class {marked} {change}"]
    return "\n".join(lines)


def _table(table: TableChange, id_: str, *, whole: bool) -> Iterator[str]:
    note = f" ({table.change})" if table.change else ""
    note = f" (was {table.was})" if table.was else note
    rows = [f"        {_column(column, remark)}" for column, remark in _columns(table) if whole or remark]
    name = f"    {id_}[{label(table.name + note)}]"
    # Mermaid's parser rejects an empty block.
    yield from [f"{name} {{", *rows, "    }"] if rows else [name]


def _column(column: ColumnChange, remark: str) -> str:
    keys = ",".join(key for key in ("PK", "FK", "UK") if key in column.key.split(","))
    parts = [type_word(column.type), word(column.name), keys, label(remark) if remark else ""]
    return " ".join(part for part in parts if part)


def _columns(table: TableChange) -> Iterator[tuple[ColumnChange, str]]:
    """Return each column with its change. Dropped columns come last."""
    before = {column.name: column for column in (table.before or TableState()).columns}
    after = (table.after or TableState()).columns
    for column in after:
        old = before.get(column.was or column.name)
        yield column, _remark(old, column) if table.before else _not_null(column)
    staying = {column.was or column.name for column in after}
    for column in before.values():
        if column.name not in staying:
            yield column, "dropped" if table.after else _not_null(column)


def _not_null(column: ColumnChange) -> str:
    return "not null" if column.not_null and "PK" not in column.key else ""


def _remark(old: ColumnChange | None, new: ColumnChange) -> str:
    if old is None:
        return ", ".join(filter(None, ["new", _not_null(new)]))
    remarks = [f"was {new.was}"] if new.was else []
    remarks += [f"was {old.type or 'of another type'}"] if old.type != new.type else []
    remarks += ["now not null" if new.not_null else "was not null"] if old.not_null != new.not_null else []
    gone = [key for key in old.key.split(",") if key and key not in new.key.split(",")]
    come = [key for key in new.key.split(",") if key and key not in old.key.split(",")]
    return ", ".join([*remarks, *(f"now {key}" for key in come), *(f"was {key}" for key in gone)])


def _keys(table: TableChange, ids: dict[str, str]) -> Iterator[str]:
    for key, state, remark in _foreign_keys(table):
        if key.table in ids:
            many = "|o" if _is_unique(key, state) else "}o"
            required = all(column.not_null for column in state.columns if column.name in key.columns)
            name = label(", ".join(key.columns) + remark)
            yield f"    {ids[table.name]} {many}--{'||' if required else 'o|'} {ids[key.table]} : {name}"


def _foreign_keys(table: TableChange) -> Iterable[tuple[ForeignKey, TableState, str]]:
    before, after = table.before or TableState(), table.after or TableState()
    called = {column.was: column.name for column in after.columns if column.was}
    old = [replace(key, columns=tuple(called.get(name, name) for name in key.columns)) for key in before.foreign_keys]
    for key in after.foreign_keys:
        yield key, after, " (new)" if table.before and key not in old else ""
    for key in old:
        if key not in after.foreign_keys:
            yield key, before, " (dropped)" if table.after else ""


def _is_unique(key: ForeignKey, state: TableState) -> bool:
    """Return whether at most one row has each value of the foreign key: its columns are the whole primary key."""
    primary = {column.name for column in state.columns if "PK" in column.key.split(",")}
    return bool(primary) and primary == set(key.columns)
