"""Print the outputs of a stack or a resource after a step, as the Pulumi CLI does (3.260)."""

from __future__ import annotations

from pulumi_embedded.display.changes import is_stack
from pulumi_embedded.display.objects import PropertyPrinter, worth_showing
from pulumi_embedded.model.differ import ObjectDiff, diff_objects, diff_values, is_internal
from pulumi_embedded.model.events import StepView
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.values import UNKNOWN, Properties

__all__ = ["outputs_text"]


def outputs_text(
    view: StepView,
    printer: PropertyPrinter,
    *,
    planning: bool,
    refresh: bool = False,
    show_sames: bool = False,
) -> str:
    """Return the outputs to show: all of a stack after an update, otherwise the changed ones."""
    show_sames = show_sames or (not planning and is_stack(view))
    if planning and not (refresh or is_stack(view) or view.op in (Op.READ, Op.READ_REPLACEMENT)):
        return ""
    if view.old is not None and view.old.init_errors:
        return ""
    inputs, outputs = (view.new.inputs, view.new.outputs) if view.new else ({}, {})
    if view.old is None:
        return _all(outputs, inputs, printer)
    diff = diff_objects(view.old.outputs, outputs)
    if planning and is_stack(view):
        diff = _without_unknown_updates(diff)
    if diff is None and not show_sames:
        return ""
    if diff is None:
        return _all(outputs, inputs, printer)
    return _changed(diff, outputs, inputs, printer, show_sames=show_sames, refresh=refresh)


def _without_unknown_updates(diff: ObjectDiff | None) -> ObjectDiff | None:
    """Remove outputs that a preview does not know yet, which are no changes."""
    if diff is None:
        return None
    diff.updates = {name: change for name, change in diff.updates.items() if change.new is not UNKNOWN}
    return diff


def _all(outputs: Properties, inputs: Properties, printer: PropertyPrinter) -> str:
    width = max((len(name) for name in outputs), default=0)
    text = ""
    for name in sorted(outputs):
        same_as_input = name in inputs and diff_values(outputs[name], inputs[name]) is None
        if not is_internal(name) and worth_showing(outputs[name]) and not same_as_input:
            text += printer.property(name, width, outputs[name])
    return text


def _changed(
    diff: ObjectDiff,
    outputs: Properties,
    inputs: Properties,
    printer: PropertyPrinter,
    *,
    show_sames: bool,
    refresh: bool,
) -> str:
    width = max((len(name) for name in diff.keys()), default=0)  # noqa: SIM118 - not a dict
    text = ""
    for name in diff.keys():  # noqa: SIM118 - not a dict
        if name in inputs and not refresh and diff_values(outputs.get(name), inputs[name]) is None:
            continue
        if name in diff.sames and not show_sames:
            continue
        text += printer.property_diff(name, width, diff)
    return text
