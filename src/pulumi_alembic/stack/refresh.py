"""The refresh of a resource: its revision and its drift. Also the expected schema that an update leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pulumi.dynamic import ReadResult

from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.migrate import planner
from pulumi_alembic.output.wording import counted
from pulumi_alembic.stack import proof
from pulumi_alembic.stack.properties import DETAILS, Properties, Wire

if TYPE_CHECKING:
    from pulumi_alembic.drift.baseline import DriftBaseline

__all__ = ["baseline", "look", "read", "unreachable"]


def read(id_: str, state: Properties) -> ReadResult:
    """Return the revision and the drift of one database.

    Raises:
        DatabaseError: The database cannot be read. Nothing was changed.

    """
    revision = planner.read_revision(state.url or "")
    observed = look(state)
    inputs = state.without(Properties.drift, Properties.drift_left)
    outputs = {**inputs, Properties.revision: revision, **observed}
    if not state.proof or revision != state.wire.get(Properties.revision):
        outputs[Properties.proof] = proof.at(replace(state.job(state), target=revision), state)
    if revision != state.wire.get(Properties.revision):
        outputs = {key: value for key, value in outputs.items() if key not in _DECIDED}
    names = (Properties.revision, Properties.schema_fingerprint, Properties.proof, *DETAILS, *_DECIDED)
    target_inputs = {key: value for key, value in inputs.items() if key not in names}
    reading = {key: value for key, value in observed.items() if key == Properties.drift}
    return ReadResult(id_, outputs, {**target_inputs, Properties.target: revision, Properties.plan: "", **reading})


_DECIDED = (Properties.effective_target, Properties.held)
"""What the last preview decided about contracts. The next preview decides again."""


def look(properties: Properties) -> Wire:
    """Return the outputs that describe drift, none if the state has no expected fingerprint. Raises DatabaseError."""
    expected, log = properties.schema_fingerprint, properties.log
    if not expected:
        return {}
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.drift.check import compare

    with connect(properties.url or "") as connection:
        comparison = compare(connection, expected, properties.drift_ignore, log.info)
    for accepted in comparison.accepted:
        log.info(str(accepted))
    drift = comparison.drift
    if drift:
        log.warning(_text(drift, len(comparison.reported) or len(drift), comparison.upgrade))
    return {Properties.schema_fingerprint: comparison.expected, **({Properties.drift: drift} if drift else {})}


def unreachable(state: Properties) -> str:
    """Return that the server does not answer, with the command that starts it. Empty if it answers.

    Also empty if no such command is known.
    """
    from pulumi_alembic.database.reachable import knock

    if state.start and state.url:
        try:
            knock(state.url)
        except DatabaseError as error:
            return f"{error}. Start the server:\n  {state.start}"
    return ""


def baseline(olds: Properties, news: Properties) -> DriftBaseline:
    """Return what stores the expected schema during an update."""
    from pulumi_alembic.drift.baseline import DriftBaseline

    return DriftBaseline(
        news.url or "",
        olds.schema_fingerprint,
        news.log,
        infrastructure=olds.infrastructure != news.infrastructure,
        ignore=news.drift_ignore,
        stack=news.log.stack,
    )


def _text(drift: dict[str, list[str]], count: int, upgrade: str) -> str:
    from pulumi_alembic.drift.report import listed

    shown = listed(drift.items(), of=count)
    head = f"drift, {counted(count, 'difference')} from what the last update left:"
    return "\n  ".join([head, *shown, *([upgrade] if upgrade else [])])
