"""Text of a database's as parts of a Mermaid erDiagram: any text makes a part that is read, and no two the same one.

Read by the parsers of Mermaid 11.5 to 12.3; GitHub had 11.12.0 in November 2025. Its labels are Markdown with entities
of its own, `#35;`. A type or a column's name is a word: of ASCII's characters that of 11.12 takes letters, digits and
`-_[]()*` only, the key words PK, FK and UK start none, and a pair of `_` around it would format.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["label", "type_word", "word"]

_LIMITED = re.compile(r"([a-z][a-z0-9_.]*)(\(\d+(?:,\d+)?\))?((?:\[\])*)")
_KEY_WORD = re.compile(r"(?ai)(?:pk|fk|uk)\b")
_PLAIN = re.compile(r"_*[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)*")
_OPENING = re.compile(r"(?<![A-Za-z0-9_])_+")
# They are shown as the comma and the space that they stand for, and a word takes them.
_COMMA, _SPACE = "\u201a", "\u202f"
_HIDDEN = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def label(text: str) -> str:
    """The text in quotes, as a table's label, a column's comment or a key's name; characters not seen as code points.

    A space is an entity as well: `direction TB` is a command in any place of a line.
    """
    return '"' + "".join(_seen(each) for each in text) + '"'


def word(name: str) -> str:
    """The name as a column's. What a word cannot hold stands there as its code point in hexadecimal: `-2e-`."""
    written = "".join(map(_written, name))
    if not _PLAIN.fullmatch(written):
        written = _OPENING.sub(lambda found: "".join(map(_escaped, found.group())), written)
    if written and (written[0].isalpha() or written[0] == "_") and not _KEY_WORD.match(written):
        return written
    # No name is written with a `-` twice behind its first letter, so this is no other one's either.
    rest = written if written.startswith("-") else _escaped(name[0]) + written[1:] if name else ""
    return f"x-{rest}"


def type_word(type_: str) -> str:
    """A type as a word; its limits are shown as they are."""
    found = _LIMITED.fullmatch(type_)
    if not found:
        return word(type_ or "?")
    name, limits, array = found.groups()
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
    return "".join(each if each.isascii() and each.isalnum() else f"#{ord(each)};" for each in shown)
