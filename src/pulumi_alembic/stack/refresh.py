"""Between the resource's properties and drift: what a refresh finds, and what an update leaves to be expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_alembic.stack import log
from pulumi_alembic.stack.inputs import DRIFT, FINGERPRINT, INFRASTRUCTURE, Inputs, Properties

if TYPE_CHECKING:
    from pulumi_alembic.drift.baseline import Keeper

__all__ = ["keeper", "look"]

_SAID = 20


def look(inputs: Inputs, properties: Properties) -> Properties:
    """The outputs that tell of drift; none where the state does not know what to expect. Raises DatabaseError."""
    expected = properties.get(FINGERPRINT)
    if not expected:
        return {}
    from pulumi_alembic.database.connection import connect
    from pulumi_alembic.drift.check import compare

    with connect(inputs.url or "") as connection:
        seen = compare(connection, expected, inputs.drift_ignore, lambda text: log.info(text, inputs.urn))
    for accepted in seen.accepted:
        log.info(str(accepted), inputs.urn)
    drift = seen.drift
    if drift:
        log.warning(_text(drift, len(seen.told) or len(drift), seen.upgrade), inputs.urn)
    return {FINGERPRINT: seen.expected, **({DRIFT: drift} if drift else {})}


def keeper(inputs: Inputs, olds: Properties, news: Properties) -> Keeper:
    """Keeps what is expected through an update."""
    from pulumi_alembic.drift.baseline import Keeper

    return Keeper(
        inputs.url or "",
        olds.get(FINGERPRINT) or "",
        infrastructure=olds.get(INFRASTRUCTURE) != news.get(INFRASTRUCTURE),
        ignore=inputs.drift_ignore,
        stack=log.stack(inputs.urn),
        warn=lambda text: log.warning(text, inputs.urn),
        tell=lambda text: log.info(text, inputs.urn),
    )


def _text(drift: dict[str, list[str]], count: int, upgrade: str) -> str:
    number = f"{count} difference{'' if count == 1 else 's'}"
    shown = [line for name, lines in list(drift.items())[:_SAID] for line in (name, *(f"  {each}" for each in lines))]
    more = [f"… and {count - _SAID} more"] if count > _SAID else []
    said = [*shown, *more, *([upgrade] if upgrade else [])]
    return "\n  ".join([f"drift, {number} from what the last update left:", *said])
