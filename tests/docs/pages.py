"""A page of the documentation as steps: the commands and files of its reader, and their output.

A block ```console contains commands, `$ command`, and below each its output. A line that begins with `> ` continues a
command. A line `…` stands for any lines, a `…` within a line for any text. A command without output can print anything.
A fence of another kind after the name of its file, "`path`:", is that file.

Comments of the page are only for the tests. `<!-- run: command -->` is typed and not shown. `<!-- again -->` begins
with a new copy of the project. After `<!-- edit: path -->` a block replaces the end of that file, from the block's
first line on. `<!-- picture: file columns command -->` is typed in a terminal with this many columns, and the file
shows its output.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

CUT = "…"
NOT_YET = "?"
"""The output on a page whose commands have not been printed yet."""
PRINTED_KINDS = ("markdown", "json", "sql")
"""A block of these kinds directly after a command without output is the output of that command."""

_FENCE = re.compile(r"^(`{3,})(\w*)$")
_COMMENT = re.compile(r"<!-- (run|again|edit|picture)(?:: (.*?))? ?-->", re.S)
_FILE = re.compile(r"`([\w./-]+)`(?:, [^`]*)?:\n+$")

# Texts that differ in each run, and for the reader. The order matters, because a digest contains numbers.
_VARYING = (
    (re.compile(r"\bv2:[0-9a-f]{32}(?:-[0-9a-f]{4}){6}"), "DIGEST"),
    (re.compile(r"\bv[12]:[0-9a-f]{64}"), "FINGERPRINT"),
    (re.compile(r"\b(2\d{7}_\d{3})=\S{22}\+?"), r"\1=PROOF"),
    (re.compile(r"\b20\d{6}T\d{6}Z-[0-9a-f]{4}"), "BACKUP"),
    (re.compile(r"\b20\d\d-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+00(?::00)?)?"), "TIME"),
    (re.compile(r"\b20\d{6}(?=_00[4-9])"), "DATE"),
    (re.compile(r"(?<=\bCreated: )20\d\d-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"\b[0-9a-f]{40}\b"), "COMMIT"),
    (re.compile(r"(?<=\bat )[0-9a-f]{7}\b"), "COMMIT"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{12}\b"), "REVISION"),
    (re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{8}\b(?!_)"), "ID"),
    (re.compile(r"\b(127\.0\.0\.1|localhost):\d+"), r"\1:PORT"),
    (re.compile(r"\bport(:? +|, |\": )\d{4,5}\b"), r"port\1PORT"),
    (re.compile(r"(?<=\"seconds\": )[\d.]+"), "SECONDS"),
    (re.compile(r"(?<=\"version\": \")[\d.]+"), "VERSION"),
    (re.compile(r"\b(pid |pg_terminate_backend\()\d+"), r"\1PID"),
    (re.compile(r"\bat \d\d:\d\d:\d\d\b"), "at TIME"),
    (re.compile(r"\bMakefile:\d+"), "Makefile:LINE"),
    (re.compile(r"\b(?:just )?now\b|\b\d+ (?:second|minute)s? ago\b"), "AGO"),
    (re.compile(r"\(\d+(?:\.\d+)? ?m?s\)"), "(SECONDS)"),
    (re.compile(r"\b\d+(?:\.\d+)? ?m?s\b"), "SECONDS"),
    (re.compile(r"\b\d+(?:\.\d+)? (?:bytes|[kMG]i?B)\b"), "SIZE"),
    (re.compile(r"\b(PostgreSQL|postgresql=|postgresql) ?\d+(?:\.\d+)?\b"), r"\1 VERSION"),
    (re.compile(r'(?<=textLength=")[\d.]+'), "LENGTH"),
    (re.compile(r"(?<=\S)  +"), "  "),
    (re.compile(r"  [-─━]+(?=\s|$)"), "  -"),
    (re.compile(r" +$", re.M), ""),
)
REMEMBERED = (
    re.compile(r"\bv2:[0-9a-f]{32}(?:-[0-9a-f]{4}){6}"),
    re.compile(r"\btaskdb_\w+-20\d{6}T\d{6}Z-[0-9a-f]{4}"),
    re.compile(r"(?<![\w-])(?=[0-9a-f]*[0-9])[0-9a-f]{8}(?![\w-])"),
    re.compile(r"\b20\d{6}(?=_00[4-9])"),
)
"""Values that a reader copies from the output above. In a command they stand for the last printed value."""


@dataclass
class Step:
    """One step: type `command`, write `text` to the file `path` or into it, or begin again.

    `picture` is the file that shows the command's output in a terminal with this many `columns`. `shown` is the page's
    output, and `first` and `last` are its lines. `line` is the line of the command.
    """

    command: str = ""
    path: str = ""
    text: str = ""
    edits: bool = False
    hidden: bool = False
    again: bool = False
    picture: Path | None = None
    columns: int = 0
    shown: list[str] = field(default_factory=list)
    line: int = 0
    first: int = 0
    last: int = 0
    heading: str = ""

    @property
    def may_fail(self) -> bool:
        """Return whether the page shows an error, or a check with a finding."""
        shown = "\n".join(self.shown)
        checks = (
            "git merge",
            "--expect-no-changes",
            "--fail-on",
            "pulumi-alembic drift",
            "pulumi-alembic lint",
            "server status",
            "taskdb status",
        )
        failed = re.search(r"(?:^|\s)(?:[Ee]rror|FAILED): ", shown) or any(check in self.command for check in checks)
        return shown == NOT_YET or bool(failed)


@dataclass(frozen=True)
class Fence:
    """A block of code: its kind, its lines, and the number of the first line."""

    kind: str
    lines: list[str]
    first: int


def fences(lines: list[str]) -> Iterator[Fence]:
    """Return the page's blocks in their order. A block within another one is text of the outer one."""
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        number += 1
        if opened:
            first = number
            while lines[number] != opened[1]:
                number += 1
            yield Fence(opened[2], lines[first:number], first)
            number += 1


def steps(page: Path) -> list[Step]:
    """Return the steps of a reader who follows the page from its first line to its last."""
    lines = page.read_text().splitlines()
    found: list[Step] = []
    position, heading = 0, ""
    for fence in [*fences(lines), Fence("", [], len(lines) + 1)]:
        between = "\n".join(lines[position : fence.first - 1]) + "\n"
        heading = [heading, *re.findall(r"^#{1,2} .+", between, re.M)][-1]
        text = "\n".join(fence.lines) + "\n"
        edited = ""
        for kind, argument in _COMMENT.findall(between):
            if kind == "edit":
                edited = argument
            elif kind == "picture":
                found.append(_pictured(page.parent, argument, heading))
            else:
                found.append(Step(argument, hidden=True, again=kind == "again", heading=heading))
        named = _FILE.search(between)
        if fence.kind == "console":
            found += _commands(fence, heading)
        elif edited:
            found.append(Step(path=edited, text=text, edits=True, heading=heading))
        elif named and fence.kind:
            found.append(Step(path=named[1], text=text, heading=heading))
        elif fence.kind in PRINTED_KINDS and found and not between.strip() and not found[-1].shown:
            last = found[-1]
            last.shown, last.first, last.last = fence.lines, fence.first, fence.first + len(fence.lines)
        position = fence.first + len(fence.lines) + 1
    return found


def _pictured(folder: Path, argument: str, heading: str) -> Step:
    name, columns, command = argument.split(maxsplit=2)
    picture = folder / name
    shown = picture.read_text().splitlines() if picture.exists() else [NOT_YET]
    return Step(command, hidden=True, heading=heading, picture=picture, columns=int(columns), shown=shown)


def _commands(fence: Fence, heading: str) -> Iterator[Step]:
    step: Step | None = None
    for number, line in enumerate(fence.lines, fence.first):
        if line.startswith("$ "):
            if step:
                yield step
            step = Step(line[2:], line=number, first=number + 1, last=number + 1, heading=heading)
        elif step and (line.startswith("> ") or line == ">") and not step.shown:
            step.command += "\n" + line[2:]
            step.first = step.last = number + 1
        elif step:
            step.shown.append(line)
            step.last = number + 1
        else:
            raise ValueError(f"line {number + 1}: a block of commands begins with one")
    if step:
        yield step


def normal(text: str) -> str:
    """Return the text without the parts that differ in each run."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return text.strip("\n")


def fits(shown: list[str], printed: str) -> bool:
    """Return whether the page shows the output, apart from its cuts and the parts that vary."""
    return _matched(shown, printed) is not None


def shows(step: Step, printed: str) -> bool:
    """Return whether the page shows the step's output, or no output."""
    return not step.shown or fits(step.shown, printed)


def _matched(shown: list[str], printed: str) -> re.Match[str] | None:
    """Match the normal form of the output, with a group for each part between the cuts."""
    pattern = ""
    for part in _parts(normal("\n".join(shown)).split("\n")):
        lines = "".join(re.escape(line).replace(CUT, ".*?") + r"\n" for line in part)
        pattern += r"(?:.*\n)*?" if part == [CUT] else f"({lines})"
    return re.fullmatch(pattern, normal(printed) + "\n")


def difference(shown: list[str], printed: str) -> str:
    """Return the difference between the page and the output, for the reader of a failed test."""
    both = [normal("\n".join(shown)).split("\n"), normal(printed).split("\n")]
    return "\n".join(difflib.unified_diff(*both, "the page", "printed", lineterm="", n=1))


def cut(shown: list[str], printed: str) -> list[str]:
    """Cut the output like the page: keep the parts that resemble the page's parts most."""
    lines = printed.strip("\n").split("\n")
    if CUT not in [line.strip() for line in shown]:
        return lines
    matched = _matched(shown, printed)
    result: list[str] = []
    group = position = 0
    for part in _parts(shown):
        if part == [CUT]:
            result.append(CUT)
            continue
        if matched:
            group += 1
            begin, end = (matched.string.count("\n", 0, at) for at in matched.span(group))
        else:
            begin, end = _resembling(part, lines, position)
        result += lines[begin:end]
        position = end
    return [line for number, line in enumerate(result) if line != CUT or result[number - 1 : number] != [CUT]]


def _resembling(part: list[str], lines: list[str], position: int) -> tuple[int, int]:
    """Return the lines after `position` that resemble the part most, as the first line and the line after the last."""
    wanted, known = normal("\n".join(part)), [normal(line.strip()) for line in lines]

    def score(begin: int, end: int) -> float:
        return difflib.SequenceMatcher(None, wanted, "\n".join(known[begin:end]), autojunk=False).ratio()

    begins = [number for number in range(position, len(lines)) if _begins_as(part[0], lines[number])]
    if not begins:
        return position, position
    begin = max(begins, key=lambda at: (score(at, at + len(part)), -at))
    longest = min(len(lines), begin + len(part) + 12)
    end = max(range(begin + 1, longest + 1), key=lambda at: score(begin, at))
    return (begin, end) if score(begin, end) > 0.5 else (position, position)


def _begins_as(wanted: str, line: str) -> bool:
    """Return whether a part that begins with an error would begin with an error here too."""
    return not wanted.strip().startswith("error:") or line.strip().startswith("error:")


def _parts(shown: list[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for line in shown:
        if line.strip() == CUT:
            if part:
                yield part
            yield [CUT]
            part = []
        else:
            part.append(line)
    if part:
        yield part


def replaced(command: str, remembered: Mapping[int, str]) -> str:
    """Return the command with the values that its reader copies from the output above."""
    for number, pattern in enumerate(REMEMBERED):
        if number in remembered:
            command = pattern.sub(lambda _, number=number: remembered[number], command)  # type: ignore[misc]
    return command
