"""Choose the display of an operation: JSON, a detailed diff, a live table, or lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from pulumi_embedded.display.diff import DiffDisplay
from pulumi_embedded.display.documents import EventStream, PreviewDigest
from pulumi_embedded.display.event_log import event_log
from pulumi_embedded.display.live import live_display
from pulumi_embedded.display.mask import masked
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.display.progress import ProgressDisplay, watched
from pulumi_embedded.display.terminal import printer_of_text
from pulumi_embedded.model.events import Diagnostic, Event, EventSink, StepEnded, StepFailed, StepStarted, StepView
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.urns import STACK_TYPE, make_urn
from pulumi_embedded.model.values import unwrap
from pulumi_embedded.storage.target import Target

__all__ = ["DisplayOptions", "display_for", "show_details"]


@contextmanager
def display_for(target: Target, options: Options, chosen: DisplayOptions) -> Iterator[EventSink]:
    """Return the display of one operation. It masks secrets of the configuration in everything that it prints."""
    mask = masked(target.config.values())
    with _display(target, options, chosen, mask) as display:
        if not chosen.event_log:
            yield display
            return
        with event_log(chosen.event_log) as write:
            log = _masking(EventStream(write, mask, chosen, preview=options.dry_run), mask)

            def take(event: Event) -> None:
                log(event)
                display(event)

            yield take


@contextmanager
def _display(
    target: Target, options: Options, chosen: DisplayOptions, mask: Callable[[str], str]
) -> Iterator[EventSink]:
    stack_urn = make_urn(target.stack, target.project.name, "", STACK_TYPE, f"{target.project.name}-{target.stack}")

    kind, preview = options.kind, options.dry_run
    # The CLI always shows a refresh in full (3.260).
    full = chosen.show_full_output or kind is Kind.REFRESH
    printer = PropertyPrinter(1, truncate=not full, mask=mask)
    print_ = printer_of_text(color=chosen.color)
    if chosen.json and preview:
        yield _masking(PreviewDigest(printer_of_text(color=False), mask, chosen, preview=preview), mask)
    elif chosen.json:
        with closing(EventStream(printer_of_text(color=False), mask, chosen, preview=preview)) as stream:
            yield _masking(stream, mask)
    elif chosen.diff:
        yield _masking(
            _revealing(DiffDisplay(kind, target.stack, printer, print_, chosen, preview=preview), chosen), mask
        )
    elif chosen.live:
        with live_display(kind, stack_urn, printer, chosen, preview=preview) as display:
            yield _masking(_revealing(display, chosen), mask, chosen.previewed if preview else None)
    else:
        with watched(ProgressDisplay(kind, stack_urn, printer, print_, chosen, preview=preview)) as display:
            yield _masking(_revealing(display, chosen), mask)


def show_details(target: Target, kind: Kind, chosen: DisplayOptions) -> None:
    """Print the last preview again, as a diff in full length."""
    printer = PropertyPrinter(1, truncate=False, summary=True, mask=masked(target.config.values()))
    print_ = printer_of_text(color=chosen.color)
    display = _revealing(DiffDisplay(kind, "", printer, print_, chosen, preview=True), chosen)
    for event in chosen.previewed:
        if isinstance(event, StepStarted | StepEnded):
            display(event)


def _revealing(display: EventSink, chosen: DisplayOptions) -> EventSink:
    """Return the display or, with `--show-secrets`, one that receives secrets in plain text."""
    if not chosen.show_secrets:
        return display

    def take(event: Event) -> None:
        if isinstance(event, StepStarted | StepEnded | StepFailed):
            event = replace(event, step=_revealed(event.step))
        display(event)

    return take


def _revealed(view: StepView) -> StepView:
    return replace(view, old=_opened(view.old), new=_opened(view.new))


def _opened(state: ResourceState | None) -> ResourceState | None:
    return state and replace(state, inputs=unwrap(state.inputs), outputs=unwrap(state.outputs))


def _masking(display: EventSink, mask: Callable[[str], str], kept: list[Event] | None = None) -> EventSink:
    """Return the display with masked messages. The display itself masks the property values that it prints."""

    def take(event: Event) -> None:
        if kept is not None:
            kept.append(event)
        display(replace(event, message=mask(event.message)) if isinstance(event, Diagnostic) else event)

    return take
