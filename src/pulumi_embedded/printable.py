"""Make text from elsewhere harmless for terminals and CI logs: the one place through which all that is printed goes.

`pulumi_alembic` and `pulumi_embedded` are independent libraries, and each has this file; a test compares the two.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

__all__ = ["GuardedStream", "guarded_output", "json_text", "printable"]

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_UNUSUAL = re.compile(r"[^ -~\n\t]")
_SUSPECT = re.compile(r"[^ -~\n\t]|::|##")
# GitHub's runner takes `::name` for a command at the start of a line, behind white space and what a comparison of texts
# skips, and `##[name]` anywhere (ActionCommand.cs); Azure takes `##vso[`, TeamCity `##teamcity[`.
_COMMAND = re.compile(r"^([^\w!-~\n]*)(?=::)", re.MULTILINE)
_OLD_COMMAND = re.compile(r"##(?=\w*\[)")
# Letters by their category, and nothing to be seen: the fillers of Hangul.
_UNSEEN = "\u115f\u1160\u3164\uffa0"
# As much of the current line as a stream remembers, if the line holds anything to be seen.
_REMEMBERED = 200


def printable(text: str) -> str:
    r"""The text without colours, in which nothing commands a terminal or a CI log; newlines and tabs stay.

    Every other control character, every character that is not seen and every one that changes the reading direction
    is written as its escape, such as `\x1b`. A workflow command gets a backslash, as in `\::error::`. The result of
    this function is not changed by it.
    """
    if not _SUSPECT.search(text):
        return text
    shown = _UNUSUAL.sub(_escaped, _COLOUR.sub("", text))
    return _OLD_COMMAND.sub(r"#\\#", _COMMAND.sub(r"\1\\", shown))


def json_text(document: Any, *, ascii_only: bool = True, **form: Any) -> str:
    r"""The document as JSON that `printable` would not change; what it reads as is the document, unchanged.

    Args:
        document: What `json.dumps` takes.
        ascii_only: Escape all that is not ASCII. Without it only what `printable` escapes, and all the rest as well if
            standard output cannot write it.
        form: What else `json.dumps` takes, such as `indent`.

    """
    ascii_only = ascii_only or not _writes_unicode(sys.stdout)
    text = json.dumps(document, ensure_ascii=ascii_only, **form)
    shown = _UNUSUAL.sub(lambda match: match[0] if _is_seen(match[0]) else json.dumps(match[0])[1:-1], text)
    # Only in a string there are two of them; JSON knows no `\#`.
    return shown.replace("##", "#\\u0023")


class LastingStream(io.TextIOBase):
    """A text stream that writes to `stream` whatever its encoding is, with escapes for what it lacks.

    If the reader is gone, as behind `| head -1`, what is written is dropped, and the command goes on to its end: an
    update must not stop half-way for that. Any other error is kept as `error`.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None
        self._charset = getattr(stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> Any:
        """The bytes below."""
        return self.stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's. For ASCII UTF-8, of which it is a part: click replaces a stream that says that it is ASCII."""
        return "utf-8" if codecs.lookup(self._charset).name == "ascii" else self._charset

    def write(self, text: str) -> int:
        """Write the text."""
        shown = text if _writes_unicode(self) else text.encode(self._charset, "backslashreplace").decode(self._charset)
        self._try(lambda: self.stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Write what is still held."""
        self._try(self.stream.flush)

    def fileno(self) -> int:
        """The stream's."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """The stream's."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """Whether it can be written to."""
        return True

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.error = self.error or error
            # What is held would fail again with each write, and once more at the end of the process.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


class GuardedStream(LastingStream):
    """A LastingStream that writes everything as `printable`; `plain` writes it as it is, such as colours of ours."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.plain = LastingStream(stream)
        self._line = ""

    def write(self, text: str) -> int:
        """Write the text; what a line begins with may have been written before."""
        shown = printable(self._line + text)
        # If a command were to stand across the two, it is broken at the seam.
        shown = shown[len(self._line) :] if shown.startswith(self._line) else "\\" + printable(text)
        line = (self._line + shown).rpartition("\n")[2]
        if len(line) > _REMEMBERED:
            line = ("x" if re.search(r"[\w!-~]", line) else "") + line[-_REMEMBERED // 2 :]
        self._line = line
        super().write(shown)
        return len(text)


@contextmanager
def guarded_output() -> Iterator[None]:
    """Let standard output and standard error be a GuardedStream each, for a command. Raises OSError as they failed."""
    before = sys.stdout, sys.stderr
    ours = [stream and GuardedStream(stream) for stream in before]
    sys.stdout, sys.stderr = ours
    try:
        yield
    finally:
        for stream in ours:
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = before
    if ours[0] and ours[0].error:
        raise ours[0].error


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if _is_seen(character):
        return character
    return f"\\x{ord(character):02x}" if character < "\x80" else character.encode("ascii", "backslashreplace").decode()


def _is_seen(character: str) -> bool:
    return (character.isprintable() and character not in _UNSEEN) or unicodedata.category(character) == "Zs"


def _writes_unicode(stream: Any) -> bool:
    encoding = getattr(stream, "_charset", None) or getattr(stream, "encoding", None) or "utf-8"
    return codecs.lookup(encoding).name.startswith("utf")
