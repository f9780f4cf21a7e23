"""Flags of the command line that determine how an operation is shown."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pulumi_embedded.model.events import Event

__all__ = ["DisplayOptions"]


@dataclass(frozen=True)
class DisplayOptions:
    """How an operation is shown.

    Attributes:
        live: Whether rows are redrawn, which needs a terminal.
        event_log: A second destination of the events, as JSON. Empty for none.
        brief: Whether the update follows its preview without a question.
        previewed: The events of the preview, for its details on request.

    """

    json: bool = False
    diff: bool = False
    live: bool = False
    color: bool = False
    show_secrets: bool = False
    show_full_output: bool = False
    show_config: bool = False
    show_sames: bool = False
    show_reads: bool = False
    show_replacement_steps: bool = False
    show_urns: bool = False
    suppress_outputs: bool = False
    event_log: str = ""
    brief: bool = False
    previewed: list[Event] = field(default_factory=list, compare=False)
