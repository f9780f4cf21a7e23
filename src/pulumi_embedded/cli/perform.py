"""One operation of a command: preview, question, lock, update, history."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pulumi_embedded.cli.context import warn
from pulumi_embedded.deployment.interrupt import interruptible
from pulumi_embedded.display.choice import DisplayOptions, display_for
from pulumi_embedded.errors import OperationFailed, UnexpectedChanges
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.outcome import Outcome
from pulumi_embedded.processes.interpreters import Interpreters
from pulumi_embedded.processes.runner import launch_in
from pulumi_embedded.storage.checkpoint import ENGINE_VERSION, Snapshot
from pulumi_embedded.storage.session import Stack
from pulumi_embedded.tracing import span

if TYPE_CHECKING:
    from pulumi_embedded.cli.plan_file import PlanFile
    from pulumi_embedded.deployment.deployment import Deployment
    from pulumi_embedded.model.plan import UpdatePlan

__all__ = ["Request", "git_facts", "perform"]

_VERBS = {Kind.UPDATE: "update", Kind.REFRESH: "refresh", Kind.DESTROY: "destroy"}


@dataclass(frozen=True)
class Request:
    """An operation that the command line requests. The preview has the same `options`, except `dry_run`."""

    options: Options
    display: DisplayOptions
    preview_only: bool = False
    yes: bool = False
    skip_preview: bool = False
    expect_no_changes: bool = False
    message: str = ""
    exec_kind: str = "cli"
    # The plan file that the update must follow, and the one to write.
    plan: PlanFile | None = None
    save_plan: PlanFile | None = None

    @property
    def previews(self) -> bool:
        """Whether a preview runs, alone or before the operation."""
        return self.preview_only or not self.skip_preview

    @property
    def program_runs(self) -> int:
        """How often the program runs."""
        if self.options.kind is not Kind.UPDATE:
            return 0
        return 2 if self.previews and not self.preview_only else 1


def perform(stack: Stack, request: Request, confirm: Callable[[], bool]) -> None:
    """Run the operation.

    Raises:
        OperationFailed: The operation failed, and its display has printed why.
        UnexpectedChanges: There are changes despite `--expect-no-changes`.

    """
    kind = request.options.kind
    verb = "preview" if request.preview_only and kind is Kind.UPDATE else _VERBS[kind]
    with (
        span(f"pulumi-embedded {verb}"),
        Interpreters(stack.session.project, request.program_runs) as interpreters,
    ):
        performance = _Performance(stack, request, interpreters)
        outcome = performance.run(confirm)
    if request.expect_no_changes and outcome.has_changes:
        raise UnexpectedChanges(f"no changes were expected for {verb} but changes were proposed")
    if request.save_plan and outcome.plan:
        performance.save(request.save_plan, outcome.plan)


class _Performance:
    """The deployments of one command on one stack."""

    def __init__(self, stack: Stack, request: Request, interpreters: Interpreters) -> None:
        self._stack = stack
        self._request = request
        self._interpreters = interpreters
        with ThreadPoolExecutor(1) as aside:
            # In parallel: deriving the key, loading the engine and loading the SDK each take about as long.
            codec = aside.submit(stack.codec, create=not request.preview_only or request.save_plan is not None)
            self._deployment = _load_engine()
            self._codec = codec.result()
        plan = request.plan.read(stack, self._codec) if request.plan else None
        self._options = replace(request.options, plan=plan)

    def run(self, confirm: Callable[[], bool]) -> Outcome:
        """Run what was requested: the preview, the question, the update."""
        if self._request.previews:
            outcome = self._deploy(self._stack.snapshot(self._codec), dry_run=True)
            if self._request.preview_only:
                return outcome
            if not (self._request.yes or confirm()):
                raise OperationFailed("")
        with self._stack.lock(warn) as lock:
            return self._update(lock)

    def save(self, file: PlanFile, plan: UpdatePlan) -> None:
        """Write the plan of the preview."""
        display = self._request.display
        file.write(plan, self._stack, self._codec, show_secrets=display.show_secrets)
        if not display.json:
            file.announce()

    def _update(self, lock: Path) -> Outcome:
        # If the state cannot be read, nothing is done, and the history gets no entry.
        snapshot = self._stack.snapshot(self._codec)
        begun = int(time.time())
        outcome = Outcome(failed=True)
        try:
            outcome = self._deploy(snapshot, dry_run=False, lock=lock)
        except OperationFailed as failure:
            outcome = failure.outcome if isinstance(failure.outcome, Outcome) else outcome
            raise
        finally:
            _record(self._stack, self._request, begun, outcome)
        return outcome

    def _deploy(self, snapshot: Snapshot, *, dry_run: bool, lock: Path | None = None) -> Outcome:
        stack, options, codec = self._stack, replace(self._options, dry_run=dry_run), self._codec
        target = stack.target()
        write = None if dry_run else lambda changed: stack.write(codec, changed)
        request = self._request
        shown = replace(request.display, brief=dry_run and request.yes and not request.preview_only)
        with display_for(target, options, shown) as display:
            launch = launch_in(self._interpreters)
            deployment = self._deployment(target, options, snapshot, display, write, launch)

            def abandon() -> None:
                deployment.abandon()
                if lock is not None:
                    lock.unlink(missing_ok=True)

            with interruptible(deployment.cancellation, display, abandon):
                outcome = deployment.run()
        if outcome.failed:
            raise OperationFailed("", outcome)
        return outcome


def _load_engine() -> type[Deployment]:
    from pulumi_embedded.deployment.deployment import Deployment

    return Deployment


def _record(stack: Stack, request: Request, begun: int, outcome: Outcome) -> None:
    """Add the operation to the stack's history, in the CLI's form (3.260)."""
    facts, git_message = git_facts(stack.session.project.folder)
    entry = {
        "kind": str(request.options.kind),
        "startTime": begun,
        "message": request.message or git_message,
        "environment": {
            **facts,
            "exec.kind": request.exec_kind,
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


def git_facts(folder: Path) -> tuple[dict[str, str], str]:
    """Return the commit's facts for the history, and the first line of its message. Empty outside of a repository."""
    shown = _git(folder, "log", "-1", "--format=%H%n%an%n%ae%n%cn%n%ce%n%s")
    if shown is None or shown.count("\n") < 5:
        return {}, ""
    commit, author, author_mail, committer, committer_mail, subject = shown.split("\n")[:6]
    facts = {
        "git.head": commit,
        "git.author": author,
        "git.author.email": author_mail,
        "git.committer": committer,
        "git.committer.email": committer_mail,
        "git.dirty": str(bool(_git(folder, "status", "--porcelain"))).lower(),
    }
    branch = _git(folder, "symbolic-ref", "--short", "-q", "HEAD")
    if branch:
        facts["git.headName"] = f"refs/heads/{branch}"
    return facts, subject


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        run = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return run.stdout.strip() if run.returncode == 0 else None
