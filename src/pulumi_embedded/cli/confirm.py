"""The question between the preview and the update."""

from __future__ import annotations

import click

from pulumi_embedded.cli.prompt import choose
from pulumi_embedded.display.choice import DisplayOptions, show_details
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.events import Event, StepStarted
from pulumi_embedded.model.options import Kind
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import STACK_TYPE, display_type, urn_name, urn_type
from pulumi_embedded.storage.session import Stack

__all__ = ["confirmed"]

_REFRESH = "\nNo resources will be modified as part of this refresh; just your stack's state will be.\n"


def confirmed(opened: Stack, kind: Kind, display: DisplayOptions) -> bool:
    """Whether the answer is yes; `details` shows the preview as a diff and asks again."""
    _warn(kind, display.previewed)
    question = f"Do you want to perform this {kind}?" + (_REFRESH if kind is Kind.REFRESH else "")
    answers = ["yes", "no"] if display.diff else ["yes", "no", "details"]
    while True:
        try:
            answer = choose(question, answers, "no")
        except (KeyboardInterrupt, click.Abort):
            raise EngineError(f"confirmation cancelled, not proceeding with the {kind}: interrupt") from None
        if answer == "details":
            show_details(opened.target(), kind, display)
            continue
        if answer == "no":
            click.echo(f"confirmation declined, not proceeding with the {kind}")
        return answer == "yes"


def _warn(kind: Kind, events: list[Event]) -> None:
    """Says what is easily overlooked in a preview."""
    steps = [event.step for event in events if isinstance(event, StepStarted)]
    if kind is Kind.UPDATE and steps and all(urn_type(step.urn) == STACK_TYPE for step in steps):
        click.echo("info: There are no resources in your stack (other than the stack resource).\n")
    kept = [step for step in steps if step.op in (Op.DELETE, Op.REPLACE) and step.old and step.old.retain_on_delete]
    if kind is not Kind.REFRESH and kept:
        click.echo(f"info: This update will leave {len(kept)} resource(s) untracked in your environment:")
        for step in kept:
            click.echo(f"    - {display_type(step.urn)} {urn_name(step.urn)}")
        click.echo()
