"""Make text from other sources safe for terminals and CI logs. All output passes through this module.

`pulumi_alembic` and `pulumi_embedded` are independent libraries. Each has this file, and a test compares the two.
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

__all__ = ["GuardedStream", "guarded_output", "json_text", "printable", "was_interrupted"]

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_UNUSUAL = re.compile(r"[^ -~\n\t]")
_SUSPECT = re.compile(r"[^ -~\n\t]|::|##")
# GitHub's runner reads `::name` as a command at the start of a line, after white space and characters that a comparison
# ignores, and `##[name]` anywhere (ActionCommand.cs). Azure reads `##vso[`, TeamCity `##teamcity[`.
_COMMAND = re.compile(r"^([^\w!-~\n]*)(?=::)", re.MULTILINE)
_OLD_COMMAND = re.compile(r"##(?=\w*\[)")
# The fillers of Hangul, which are letters by category, but invisible.
_UNSEEN = "\u115f\u1160\u3164\uffa0"
# How many characters of the current line a stream remembers, if the line has a visible one.
_REMEMBERED = 200


def printable(text: str) -> str:
    r"""Return the text without colours and without commands for a terminal or a CI log. Newlines and tabs remain.

    Other control characters, invisible characters and those that change the reading direction become escapes, such as
    `\x1b`. A workflow command gets a backslash, as in `\::error::`. A second call changes nothing more.
    """
    if not _SUSPECT.search(text):
        return text
    shown = _UNUSUAL.sub(_escaped, _COLOUR.sub("", text))
    return _OLD_COMMAND.sub(r"#\\#", _COMMAND.sub(r"\1\\", shown))


def json_text(document: Any, *, ascii_only: bool = True, **form: Any) -> str:
    """Return the document as JSON that `printable` would not change. Reading it returns the same document.

    Args:
        document: A value that `json.dumps` accepts.
        ascii_only: Whether to escape all other characters than ASCII. Otherwise only those are escaped that `printable`
            escapes, unless standard output cannot write the others.
        form: Other arguments of `json.dumps`, such as `indent`.

    """
    ascii_only = ascii_only or not _writes_unicode(sys.stdout)
    text = json.dumps(document, ensure_ascii=ascii_only, **form)
    shown = _UNUSUAL.sub(lambda match: match[0] if _is_seen(match[0]) else json.dumps(match[0])[1:-1], text)
    # Two of them occur only in a string. JSON has no escape `\#`.
    return shown.replace("##", "#\\u0023")


class LastingStream(io.TextIOBase):
    """A text stream that writes to `stream` in any encoding, with escapes for characters that it lacks.

    If the reader is gone, as in `| head -1`, the output is dropped and the command continues, because an update must
    not stop half-way for that. `error` is the first other error.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.error: OSError | None = None
        self._charset = getattr(stream, "encoding", None) or "utf-8"

    @property
    def buffer(self) -> Any:
        """The binary stream below."""
        return self.stream.buffer

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's encoding, with UTF-8 for ASCII, which is a part of it: click replaces a stream that is ASCII."""
        return "utf-8" if codecs.lookup(self._charset).name == "ascii" else self._charset

    def write(self, text: str) -> int:
        """Write the text."""
        shown = text if _writes_unicode(self) else text.encode(self._charset, "backslashreplace").decode(self._charset)
        self._try(lambda: self.stream.write(shown))
        return len(text)

    def flush(self) -> None:
        """Write buffered text."""
        self._try(self.stream.flush)

    def fileno(self) -> int:
        """Return the stream's file descriptor."""
        return self.stream.fileno()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self.stream.isatty()

    def writable(self) -> bool:
        """Return True."""
        return True

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.error = self.error or error
            # Buffered text would fail again with each write, and at the end of the process.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())
            os.close(nowhere)


class GuardedStream(LastingStream):
    """A LastingStream that writes `printable` text. Its `plain` writes text unchanged, such as our own colours."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.plain = LastingStream(stream)
        self._line = ""

    def write(self, text: str) -> int:
        """Write the text. The beginning of its line can have been written before."""
        shown = printable(self._line + text)
        # A command that spans the two parts is broken where they meet.
        shown = shown[len(self._line) :] if shown.startswith(self._line) else "\\" + printable(text)
        line = (self._line + shown).rpartition("\n")[2]
        if len(line) > _REMEMBERED:
            line = ("x" if re.search(r"[\w!-~]", line) else "") + line[-_REMEMBERED // 2 :]
        self._line = line
        super().write(shown)
        return len(text)


@contextmanager
def guarded_output() -> Iterator[None]:
    """Replace standard output and standard error by GuardedStreams for a command.

    Raises:
        KeyboardInterrupt: Ctrl-C ended the command, even if another error took the place of this one.
        OSError: Standard output could not be written. The command has ended by then.

    """
    before = sys.stdout, sys.stderr
    ours = [stream and GuardedStream(stream) for stream in before]
    sys.stdout, sys.stderr = ours
    try:
        yield
    except Exception as error:
        if was_interrupted(error):
            raise KeyboardInterrupt from error
        raise
    finally:
        for stream in ours:
            if stream:
                stream.flush()
        sys.stdout, sys.stderr = before
    if ours[0] and ours[0].error:
        raise ours[0].error


def was_interrupted(error: BaseException | None) -> bool:
    """Return whether Ctrl-C is the cause of the error. While a class is created, Python itself raises RuntimeError."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


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
