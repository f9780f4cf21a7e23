"""The status of all stacks as one HTML page, which works without a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from pulumi_alembic.output.printable import printable
from pulumi_alembic.scripts.history import History
from pulumi_alembic.status import text
from pulumi_alembic.status.diagram import diagram
from pulumi_alembic.status.overview import Status

__all__ = ["page"]

_STEP, _LANE, _LEFT = 132, 54, 150
_EVENTS = 100
"""How many of the newest entries of all ledgers the timeline shows."""

# Each pair of a text and its background has a contrast of at least 4.5, in both schemes; a test computes them.
COLOURS = {
    "light": {
        "ground": "#ffffff",
        "panel": "#f3f4f7",
        "text": "#1b1e26",
        "soft": "#515968",
        "line": "#8a92a3",
        "accent": "#1f5fbf",
        "bad": "#a82424",
        "good": "#1c6b3c",
    },
    "dark": {
        "ground": "#14161b",
        "panel": "#1f232b",
        "text": "#eceef2",
        "soft": "#a9b1c0",
        "line": "#6e7789",
        "accent": "#7fb0ff",
        "bad": "#ff9a93",
        "good": "#7fd6a0",
    },
}

_STYLE = """
body{margin:0 auto;max-width:1200px;padding:24px 20px 60px;background:var(--ground);color:var(--text);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:24px;margin:0}h2{font-size:18px;margin:32px 0 8px}
.soft{color:var(--soft)}.bad{color:var(--bad)}.good{color:var(--good)}
code{font:14px/1.5 ui-monospace,monospace;background:var(--panel);padding:2px 5px;border-radius:3px;
overflow-wrap:anywhere}
.wide{overflow-x:auto;border:1px solid var(--line);border-radius:6px}
.wide:focus-visible,summary:focus-visible,a:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:7px 12px;border-bottom:1px solid var(--line);white-space:nowrap}
tbody tr:last-child>*{border-bottom:0}td.long{white-space:normal;min-width:220px}
li{margin:8px 0}summary{cursor:pointer;padding:6px 0}
svg{display:block}svg text{fill:var(--text);font:12px ui-monospace,monospace}
svg .title{font-weight:700}svg .type,svg .key,svg .soft{fill:var(--soft)}
svg rect{fill:var(--panel);stroke:var(--line)}svg path{fill:none;stroke:var(--accent);stroke-width:1.5}
svg .lane{stroke:var(--line);stroke-width:2}svg .done{stroke:var(--accent);stroke-width:4}
svg .applied{fill:var(--accent);stroke:var(--accent)}svg .open{fill:var(--ground);stroke:var(--line);stroke-width:2}
svg .here{fill:var(--accent);stroke:var(--text);stroke-width:3}
"""


def page(project: str, history: History | None, statuses: Sequence[Status], now: datetime | None = None) -> str:
    """Return the page as HTML: lanes, problems, what waits, the table, the timeline, diagrams and drift.

    Args:
        project: The name of the project.
        history: The scripts.
        statuses: The statuses of all stacks.
        now: The time of the page. None for the current time.

    """
    now = now or datetime.now(UTC)
    sections = [
        _lanes(history, statuses) if history else "",
        _problems(statuses),
        _waiting(statuses),
        _table(statuses, now),
        _timeline(statuses),
        *_diagrams(statuses),
        *_drift(statuses),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>Status of {_text(project)}</title><style>{_colours()}{_STYLE}</style></head><body><main>"
        f"<h1>Status of {_text(project)}</h1>"
        f'<p class="soft">{_text(text.summary(statuses))}. Read at {now:%Y-%m-%d %H:%M} UTC.</p>'
        f"{''.join(sections)}</main></body></html>\n"
    )


def _colours() -> str:
    def scheme(name: str) -> str:
        return ":root{" + "".join(f"--{key}:{value};" for key, value in COLOURS[name].items()) + "}"

    return f"{scheme('light')}@media (prefers-color-scheme:dark){{{scheme('dark')}}}"


def _lanes(history: History, statuses: Sequence[Status]) -> str:
    """Return the revisions from left to right, with a lane for each database that marks its revisions."""
    ids = list(history.revisions)
    shown = [status for status in statuses if status.name]
    if not ids or not shown:
        return ""
    width, height = _LEFT + _STEP * len(ids), 44 + _LANE * len(shown)
    parts = [
        f'<text class="soft" x="{_LEFT + _STEP * number - 44}" y="24">{_text(id_)}</text>'
        for number, id_ in enumerate(ids)
    ]
    spoken = []
    for lane, status in enumerate(shown):
        y = 58 + _LANE * lane
        heads = [head for head in status.revision.split("+") if head in history.revisions]
        applied = set(history.ancestors(heads))
        reached = max((number for number, id_ in enumerate(ids) if id_ in applied), default=-1)
        parts.append(f'<text class="title" x="8" y="{y + 4}">{_text(status.stack)}</text>')
        parts.append(f'<line class="lane" x1="{_LEFT}" y1="{y}" x2="{_LEFT + _STEP * (len(ids) - 1)}" y2="{y}"/>')
        if reached > 0:
            parts.append(f'<line class="done" x1="{_LEFT}" y1="{y}" x2="{_LEFT + _STEP * reached}" y2="{y}"/>')
        for number, id_ in enumerate(ids):
            kind = "here" if id_ in heads else "applied" if id_ in applied else "open"
            parts.append(
                f'<circle class="{kind}" cx="{_LEFT + _STEP * number}" cy="{y}" r="{9 if kind == "here" else 6}"/>'
            )
        spoken.append(f"{status.stack} is at {status.revision or 'an unknown revision'}")
    label = f"Revisions applied per stack: {'; '.join(spoken)}"
    return (
        "<h2>Revisions</h2>"
        + _wide(
            f'<svg role="img" aria-label="{_text(label)}" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}">{"".join(parts)}</svg>',
            "Revisions applied per stack",
        )
        + '<p class="soft">A filled circle is an applied revision, the large one the newest of a stack.</p>'
    )


def _problems(statuses: Sequence[Status]) -> str:
    items = [
        f'<li><strong class="bad">{_text(status.stack)}</strong>: {_text(problem.text)}<br>'
        f"<code>{_text(problem.command)}</code></li>"
        for status in statuses
        for problem in status.problems
    ]
    body = f"<ul>{''.join(items)}</ul>" if items else '<p class="good">No stack has a problem.</p>'
    return f"<h2>Problems</h2>{body}"


def _waiting(statuses: Sequence[Status]) -> str:
    items = [
        f"<li><strong>{_text(status.stack)}</strong>: {_text(waiting)}</li>"
        for status in statuses
        for waiting in text.waits(status)
    ]
    return f"<h2>Waiting</h2><ul>{''.join(items)}</ul>" if items else ""


def _table(statuses: Sequence[Status], now: datetime) -> str:
    rows = []
    for status in statuses:
        first, *others = text.cells(status, now)
        cells = "".join(f"<td>{_text(cell)}</td>" for cell in others)
        rows.append(f'<tr><th scope="row">{_text(first)}</th>{cells}</tr>')
    heads = "".join(f'<th scope="col">{_text(title)}</th>' for title in text.titles)
    return "<h2>Stacks</h2>" + _wide(
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>", "Table of the stacks"
    )


def _timeline(statuses: Sequence[Status]) -> str:
    events = [
        (record.when, status.stack, record)
        for status in statuses
        for record in (status.read.records if status.read else ())
        if record.when
    ]
    events.sort(key=lambda event: event[0], reverse=True)
    rows = "".join(
        f'<tr><td><time datetime="{when.isoformat()}">{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}</time></td>'
        f"<td>{_text(stack)}</td><td>{_text(record.what)}</td><td>{_text(record.person or record.who)}</td>"
        f"<td>{_text(record.commit[:7])}</td>"
        f'<td class="long{" bad" if record.result.startswith("failed") else ""}">{_text(record.result)}</td></tr>'
        for when, stack, record in events[:_EVENTS]
    )
    if not rows:
        return ""
    heads = "".join(
        f'<th scope="col">{title}</th>' for title in ("when (UTC)", "stack", "what", "who", "commit", "result")
    )
    return "<h2>Timeline</h2>" + _wide(
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>", "Timeline from the ledgers"
    )


def _diagrams(statuses: Sequence[Status]) -> Iterator[str]:
    """Return one picture for each schema. Stacks with the same tables at the same revision share it."""
    pictures: dict[str, list[Status]] = {}
    for status in statuses:
        if status.read and status.read.catalog:
            drawn = diagram(status.read.catalog, f"Tables at revision {status.revision}")
            if drawn:
                pictures.setdefault(drawn, []).append(status)
    if pictures:
        yield "<h2>Tables</h2>"
    for drawn, same in pictures.items():
        stacks = ", ".join(status.stack for status in same)
        title = f"{same[0].revision}: {stacks}"
        yield f"<details open><summary>{_text(title)}</summary>{_wide(drawn, f'Tables of {stacks}')}</details>"


def _drift(statuses: Sequence[Status]) -> Iterator[str]:
    drifted = [status for status in statuses if status.drifted]
    if drifted:
        yield "<h2>Drift</h2>"
    for status in drifted:
        items = "".join(
            f"<li>{_text(name)}<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul></li>"
            for name, lines in status.drifted
        )
        yield f"<details open><summary>{_text(status.stack)}</summary><ul>{items}</ul></details>"


def _wide(content: str, label: str) -> str:
    """Return wide content in a region of its own that a keyboard can scroll."""
    return f'<div class="wide" role="region" tabindex="0" aria-label="{_text(label)}">{content}</div>'


def _text(value: str) -> str:
    return escape(printable(value))
