"""The commands `up`, `preview`, `refresh` and `destroy`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from pulumi_embedded.cli.config import parse_pair
from pulumi_embedded.cli.context import CommandContext, pass_context, skips_confirmations
from pulumi_embedded.cli.elsewhere import OPERATIONS_HELP
from pulumi_embedded.cli.flags import json_option, stack_option
from pulumi_embedded.cli.perform import Request, perform
from pulumi_embedded.cli.plan_file import PlanFile
from pulumi_embedded.cli.prompt import choose
from pulumi_embedded.display.choice import DisplayOptions, show_details
from pulumi_embedded.errors import ConfigurationError, EngineError, Unsupported
from pulumi_embedded.model.events import Event, StepStarted
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.urns import STACK_TYPE, display_type, urn_name, urn_type
from pulumi_embedded.storage.session import Stack
from pulumi_embedded.storage.workspace import select_stack

__all__ = ["confirmed", "destroy", "preview", "refresh", "up"]

Command = TypeVar("Command", bound=Callable[..., Any])


def _parallelism() -> int:
    """Return four operations for each processor, as the CLI does (3.260)."""
    return 4 * (os.cpu_count() or 1)


def _flag(name: str, help_: str, *short: str, **options: Any) -> Callable[[Command], Command]:
    return click.option(*short, name, is_flag=True, help=help_, **options)


def _with(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_shared = _with(
    stack_option,
    click.option("-m", "--message", default="", help="Message to associate with the operation."),
    json_option,
    _flag("--diff", "Display the operation as a rich diff."),
    click.option("-p", "--parallel", type=int, help="Run at most this many steps at once (default 4 per processor)."),
    click.option("-t", "--target", multiple=True, help="A resource URN to operate on; may be repeated."),
    _flag("--target-dependents", "Operate on what depends on the targets, too."),
    click.option("-c", "--config", multiple=True, help="KEY=VALUE to set in the stack's configuration first."),
    _flag("--config-path", "The keys of --config are paths to values in maps or lists."),
    click.option("--config-file", type=click.Path(path_type=Path), help="Use this file instead of Pulumi.STACK.yaml."),
    _flag("--expect-no-changes", "Return an error if any changes occur."),
    _flag("--show-full-output", "Display full length of inputs and outputs."),
    _flag("--show-config", "Show the configuration."),
    _flag("--show-sames", "Show resources that did not change, too."),
    _flag("--show-reads", "Show resources that are read, too."),
    _flag("--show-replacement-steps", "Show the steps of replacements."),
    _flag("--show-secrets", "Show secret outputs."),
    _flag("--urns", "Display URNs instead of names."),
    _flag("--suppress-outputs", "Do not display the stack's outputs."),
    _flag("--skip-config-validation", "Do not check the configuration against Pulumi.yaml."),
    click.option(
        "--event-log", default="", help="Write every event to this file as JSON, or send it to tcp://HOST:PORT."
    ),
    click.option("--exec-kind", default="cli", hidden=True),
    # The CLI's progress dots, links and installations of plugins, which this engine does not have.
    _flag("--suppress-progress", "", hidden=True),
    _flag("--suppress-permalink", "", hidden=True),
    _flag("--skip-plugin-pre-install", "", hidden=True),
)
_updating = _with(
    _flag("--yes", "Approve and perform the operation after the preview.", "-y"),
    _flag("--skip-preview", "Do not preview before the operation.", "-f"),
)
_replacing = _with(
    click.option("--replace", multiple=True, help="A resource URN to replace; may be repeated."),
    click.option("--target-replace", multiple=True, help="The same as --target URN --replace URN."),
)
_continuing = click.option(
    "--continue-on-error",
    is_flag=True,
    envvar="PULUMI_CONTINUE_ON_ERROR",
    help="Go on with what does not depend on a resource that failed.",
)
_EXCLUDE_HELP = "A resource URN to leave as it is; may be repeated."
_exclude = click.option("-x", "--exclude", multiple=True, help=_EXCLUDE_HELP)
_exclude_dependents = _flag("--exclude-dependents", "Leave what depends on the excluded ones as it is, too.")
_preview_only = _flag("--preview-only", "Only show a preview of the operation.")
_refresh_first = _with(click.option("-r", "--refresh", "refresh_first", is_flag=True, help="Refresh before."))


@click.command(epilog=OPERATIONS_HELP)
@click.argument("template", required=False)
@_shared
@_replacing
@_updating
@_continuing
@click.option("--exclude", multiple=True, help=_EXCLUDE_HELP)
@_exclude_dependents
@_refresh_first
@click.option("--plan", default="", help="Keep to the plan in this file, which preview --save-plan wrote.")
@pass_context
def up(context: CommandContext, /, template: str | None, **flags: Any) -> None:
    """Create or update the resources in a stack."""
    if template is not None:
        raise Unsupported(f"deploying from the template {template!r}")
    _operate(context, Kind.UPDATE, **flags)


@click.command(epilog=OPERATIONS_HELP)
@_shared
@_replacing
@_exclude
@_exclude_dependents
@_refresh_first
@click.option("--save-plan", default="", help="Write the plan of the operation to this file, for up --plan.")
@pass_context
def preview(context: CommandContext, /, **flags: Any) -> None:
    """Show a preview of updates to a stack's resources."""
    _operate(context, Kind.UPDATE, preview_only=True, **flags)


@click.command(epilog=OPERATIONS_HELP)
@_shared
@_updating
@_preview_only
@_exclude
@_exclude_dependents
@click.option("--clear-pending-creates", is_flag=True, help="Forget creates that were interrupted.")
@pass_context
def refresh(context: CommandContext, /, **flags: Any) -> None:
    """Refresh the resources in a stack."""
    _operate(context, Kind.REFRESH, **flags)


@click.command(epilog=OPERATIONS_HELP)
@_shared
@_updating
@_preview_only
@_refresh_first
@_continuing
@_exclude
@click.option("--remove", is_flag=True, help="Remove the stack and its config file afterwards.")
@pass_context
def destroy(context: CommandContext, /, remove: bool, **flags: Any) -> None:
    """Destroy all existing resources in the stack."""
    opened = _operate(context, Kind.DESTROY, **flags)
    if flags["preview_only"] or flags["json_"] or flags["target"]:
        return
    if remove:
        opened.session.backend.remove(opened.project, opened.name)
        opened.config.path.unlink(missing_ok=True)
        select_stack(opened.session.project, opened.session.backend.url, None)
        click.echo("The resources in the stack have been deleted, and the history and configuration removed.")
        return
    click.echo(
        "The resources in the stack have been deleted, but the history and configuration associated with the "
        f"stack are still maintained. \nIf you want to remove the stack completely, run "
        f"`pulumi-embedded stack rm {opened.name}`."
    )


def _operate(context: CommandContext, kind: Kind, **flags: Any) -> Stack:
    if flags["target"] and flags["exclude"]:
        # The words are the Pulumi CLI's (3.260).
        group = "if any flags in the group [target exclude] are set none of the others can be"
        raise EngineError(f"{group}; [exclude target] were all set")
    _require_consent(context, kind, flags)
    opened = context.within(None, flags["config_file"]).stack(flags["stack_name"])
    for pair in flags["config"]:
        key, value = parse_pair(pair)
        opened.config.set(key, value, path=flags["config_path"], save=False)
    opened.config.save()
    if kind is Kind.UPDATE and not flags["skip_config_validation"]:
        opened.config.check()
    request = _request(context, kind, flags)
    if request.save_plan:
        request.save_plan.require_folder()
    perform(opened, request, lambda: confirmed(opened, kind, request.display))
    return opened


def _require_consent(context: CommandContext, kind: Kind, flags: dict[str, Any]) -> None:
    for flag in ("skip_preview", "yes"):
        if flags.get(flag) and kind is not Kind.UPDATE and flags["preview_only"]:
            raise EngineError(f"--{flag.replace('_', '-')} and --preview-only cannot be used together")
    consent = any(flags.get(flag_name) for flag_name in ("yes", "skip_preview", "preview_only"))
    if consent or context.interactive or skips_confirmations():
        return
    text = "--yes or --skip-preview or --preview-only must be passed in to proceed when running in non-interactive mode"
    # The exit codes are the Pulumi CLI's (3.260).
    raise EngineError(text) if kind is Kind.REFRESH else ConfigurationError(text)


def _display(context: CommandContext, flags: dict[str, Any]) -> DisplayOptions:
    return DisplayOptions(
        json=flags["json_"],
        diff=flags["diff"],
        live=context.live,
        color=context.color,
        show_secrets=flags["show_secrets"],
        show_full_output=flags["show_full_output"],
        show_config=flags["show_config"],
        show_sames=flags["show_sames"],
        show_reads=flags["show_reads"],
        show_replacement_steps=flags["show_replacement_steps"],
        show_urns=flags["urns"],
        suppress_outputs=flags["suppress_outputs"],
        event_log=flags["event_log"],
    )


def _request(context: CommandContext, kind: Kind, flags: dict[str, Any]) -> Request:
    options = Options(
        kind,
        dry_run=False,
        refresh=flags.get("refresh_first", False),
        parallel=_parallelism() if flags["parallel"] is None else max(flags["parallel"], 1),
        targets=flags["target"] + flags.get("target_replace", ()),
        target_dependents=flags["target_dependents"],
        replaces=flags.get("replace", ()) + flags.get("target_replace", ()),
        clear_pending_creates=flags.get("clear_pending_creates", False),
        excludes=flags["exclude"],
        exclude_dependents=flags.get("exclude_dependents", False),
        continue_on_error=flags.get("continue_on_error", False),
    )
    return Request(
        options,
        _display(context, flags),
        preview_only=flags.get("preview_only", False),
        yes=flags.get("yes", False) or skips_confirmations(),
        skip_preview=flags.get("skip_preview", False),
        expect_no_changes=flags["expect_no_changes"],
        message=flags["message"],
        exec_kind=flags["exec_kind"],
        plan=_plan_file(context, flags.get("plan")),
        save_plan=_plan_file(context, flags.get("save_plan")),
    )


def _plan_file(context: CommandContext, name: str | None) -> PlanFile | None:
    return PlanFile(context.folder, name) if name else None


_REFRESH = "\nNo resources will be modified as part of this refresh; just your stack's state will be.\n"


def confirmed(opened: Stack, kind: Kind, display: DisplayOptions) -> bool:
    """Return whether the answer is yes. The answer `details` shows the preview as a diff, and asks again."""
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
    """Print a warning about details of a preview that are easily overlooked."""
    steps = [event.step for event in events if isinstance(event, StepStarted)]
    if kind is Kind.UPDATE and steps and all(urn_type(step.urn) == STACK_TYPE for step in steps):
        click.echo("info: There are no resources in your stack (other than the stack resource).\n")
    kept = [step for step in steps if step.op in (Op.DELETE, Op.REPLACE) and step.old and step.old.retain_on_delete]
    if kind is not Kind.REFRESH and kept:
        click.echo(f"info: This update will leave {len(kept)} resource(s) untracked in your environment:")
        for step in kept:
            click.echo(f"    - {display_type(step.urn)} {urn_name(step.urn)}")
        click.echo()
