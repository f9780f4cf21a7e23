"""An operation from the command to its end: preview, question, lock, update, history."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pulumi_embedded.deployment.deployment import Deployment
from pulumi_embedded.deployment.interrupt import interruptible
from pulumi_embedded.display.choice import DisplayOptions, display_for
from pulumi_embedded.errors import ConfigurationError, OperationFailed, UnexpectedChanges
from pulumi_embedded.options import Kind, Options
from pulumi_embedded.outcome import Outcome
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION, Codec, Snapshot
from pulumi_embedded.storage.provenance import git_facts
from pulumi_embedded.storage.session import Stack

__all__ = ["Request", "perform"]

_VERBS = {Kind.UPDATE: "update", Kind.REFRESH: "refresh", Kind.DESTROY: "destroy"}


@dataclass(frozen=True)
class Request:
    """What the command line asked for."""

    kind: Kind
    display: DisplayOptions
    preview_only: bool = False
    yes: bool = False
    skip_preview: bool = False
    refresh: bool = False
    expect_no_changes: bool = False
    message: str = ""
    parallel: int = 16
    targets: tuple[str, ...] = ()
    clear_pending_creates: bool = False
    interactive: bool = False

    def options(self, *, dry_run: bool) -> Options:
        """The deployment's options for the preview or the update."""
        return Options(
            self.kind,
            dry_run,
            self.refresh,
            self.parallel,
            self.targets,
            self.clear_pending_creates,
        )


def perform(stack: Stack, request: Request, confirm: Callable[[], bool]) -> None:
    """Does what was asked; raises OperationFailed where it failed and its display has said why."""
    if not (request.preview_only or request.yes or request.skip_preview or request.interactive):
        raise ConfigurationError(
            "--yes or --skip-preview or --preview-only must be passed in to proceed when running in "
            "non-interactive mode"
        )
    codec = stack.codec(create=not request.preview_only)
    if request.preview_only:
        _expect_no_changes(request, _preview(stack, codec, request))
        return
    if not request.skip_preview and not request.display.json:
        _preview(stack, codec, request)
        if not (request.yes or confirm()):
            raise OperationFailed("confirmation declined, not proceeding with the " + _VERBS[request.kind])
    with stack.lock() as lock:
        outcome = _update(stack, codec, request, lock)
    _expect_no_changes(request, outcome)


def _expect_no_changes(request: Request, outcome: Outcome) -> None:
    if request.expect_no_changes and outcome.has_changes:
        verb = "preview" if request.preview_only else _VERBS[request.kind]
        verb = "up" if verb == "update" else verb
        raise UnexpectedChanges(f"no changes were expected for {verb} but changes were proposed")


def _preview(stack: Stack, codec: Codec, request: Request) -> Outcome:
    snapshot = stack.snapshot(codec)
    return _run(stack, request, snapshot, request.options(dry_run=True), None)


def _update(stack: Stack, codec: Codec, request: Request, lock: Path) -> Outcome:
    snapshot = stack.snapshot(codec)
    begun = int(time.time())
    outcome = Outcome(failed=True)
    try:
        outcome = _run(
            stack,
            request,
            snapshot,
            request.options(dry_run=False),
            lambda changed: stack.write(codec, changed),
            lock,
        )
    except OperationFailed as failure:
        outcome = failure.outcome if isinstance(failure.outcome, Outcome) else outcome
        raise
    finally:
        _record(stack, request, begun, outcome)
    return outcome


def _run(
    stack: Stack,
    request: Request,
    snapshot: Snapshot,
    options: Options,
    write: Callable[[Snapshot], None] | None,
    lock: Path | None = None,
) -> Outcome:
    target = stack.target()
    with display_for(target, options, request.display) as display:
        deployment = Deployment(target, options, snapshot, display, write)

        def abandon() -> None:
            deployment.abandon()
            if lock is not None:
                lock.unlink(missing_ok=True)

        with interruptible(deployment.cancellation, display, abandon):
            outcome = deployment.run()
    if outcome.failed:
        raise OperationFailed("", outcome)
    return outcome


def _record(stack: Stack, request: Request, begun: int, outcome: Outcome) -> None:
    """Adds the operation to the stack's history, in the CLI's form (3.260)."""
    facts, git_message = git_facts(stack.session.project.folder)
    entry = {
        "kind": str(request.kind),
        "startTime": begun,
        "message": request.message or git_message,
        "environment": {
            **facts,
            "exec.kind": "cli",
            "pulumi.arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
            "pulumi.os": platform.system().lower(),
            "pulumi.version": ENGINE_VERSION,
            "runtime.name": "python",
            "runtime.version": platform.python_version(),
        },
        "config": stack.config.as_written(),
        "version": 0,
        "result": "failed" if outcome.failed else "succeeded",
        "endTime": int(time.time()),
        "resourceChanges": {str(op): count for op, count in outcome.changes.items()},
    }
    backend = stack.session.backend
    backend.add_history(stack.project, stack.name, entry)
    if os.environ.get("PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS", "").lower() not in ("1", "true"):
        backend.back_up(stack.project, stack.name)
