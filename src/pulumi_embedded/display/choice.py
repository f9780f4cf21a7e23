"""Which display an operation gets: JSON, a detailed diff, a live table, or lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rich.console import Console

from pulumi_embedded.display.diff import DiffDisplay
from pulumi_embedded.display.documents import EventStream, PreviewDigest
from pulumi_embedded.display.live import coloured, live_display
from pulumi_embedded.display.mask import masked
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.progress import ProgressDisplay
from pulumi_embedded.events import Diagnostic, Event, EventSink
from pulumi_embedded.options import Kind, Options, Target
from pulumi_embedded.urns import STACK_TYPE, make_urn

__all__ = ["DisplayOptions", "display_for"]


@dataclass(frozen=True)
class DisplayOptions:
    """How the operation is to be shown; `live` needs a terminal."""

    json: bool = False
    diff: bool = False
    live: bool = False
    show_secrets: bool = False
    show_full_output: bool = False


@contextmanager
def display_for(target: Target, options: Options, chosen: DisplayOptions) -> Iterator[EventSink]:
    """The display of one operation; secrets of the configuration are masked in everything it prints."""
    mask = masked(target.config.values())
    stack_urn = make_urn(target.stack, target.project.name, "", STACK_TYPE, f"{target.project.name}-{target.stack}")

    printer = PropertyPrinter(1, show_secrets=chosen.show_secrets, truncate=not chosen.show_full_output, mask=mask)
    kind, preview = options.kind, options.dry_run
    if chosen.json:
        digest = preview and kind is not Kind.REFRESH
        yield _masking(PreviewDigest(_print, mask) if digest else EventStream(_print, mask, preview=preview), mask)
    elif chosen.diff:
        shown = _in_colour() if chosen.live else _print
        yield _masking(DiffDisplay(kind, target.stack, printer, shown, preview=preview), mask)
    elif chosen.live:
        with live_display(kind, target.stack, stack_urn, printer, preview=preview) as display:
            yield _masking(display, mask)
    else:
        display = ProgressDisplay(kind, target.stack, stack_urn, printer, _print, preview=preview)
        yield _masking(display, mask)


def _masking(display: EventSink, mask: Callable[[str], str]) -> EventSink:
    """The display with messages masked; property values it masks itself, where it prints them."""

    def take(event: Event) -> None:
        display(replace(event, message=mask(event.message)) if isinstance(event, Diagnostic) else event)

    return take


def _print(text: str) -> None:
    print(text, flush=True)


def _in_colour() -> Callable[[str], None]:
    console = Console(highlight=False, soft_wrap=True)
    return lambda text: console.print(coloured(text))
