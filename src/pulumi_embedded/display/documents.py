"""An operation as JSON: one document for a preview, otherwise a stream of events (Pulumi CLI 3.260, `--json`)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

from pulumi_embedded.display.base import Display
from pulumi_embedded.display.changes import is_stack, worth_a_line
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.model.events import Diagnostic, Prelude, Severity, Status, StepView, Summary
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op
from pulumi_embedded.model.values import SECRET_SIGNATURE, SIGNATURE, UNKNOWN, UNKNOWN_SENTINEL, Secret, Value, plain
from pulumi_embedded.printable import json_text

__all__ = ["EventStream", "PreviewDigest"]


def _config(event: Prelude) -> dict[str, str]:
    return {key: value.blinded if value.secret else value.text for key, value in event.config.items()}


def _detailed(view: StepView) -> dict[str, Any] | None:
    if view.detailed_diff is None:
        return None
    return {
        key: {"kind": str(difference.kind), "inputDiff": difference.input_diff}
        for key, difference in sorted(view.detailed_diff.items())
    }


class PreviewDigest(Display):
    """Collects a preview, and prints it as one document at its end."""

    def __init__(
        self,
        print_: Callable[[str], None],
        mask: Callable[[str], str],
        options: DisplayOptions,
        *,
        preview: bool,
    ) -> None:
        self._print = print_
        self._mask = mask
        self._options = options
        self._config: dict[str, str] = {}
        self._steps: list[dict[str, Any]] = []
        self._diagnostics: list[dict[str, Any]] = []
        self._refreshed: set[str] = set()

    def _prelude(self, event: Prelude) -> None:
        self._config = _config(event)

    def _system(self, text: str) -> None:
        self._diagnostics.append({"message": text, "severity": "info"})

    def _started(self, view: StepView) -> None:
        parts = self._options.show_replacement_steps
        if is_stack(view) or ((parts or not view.op.is_part) and worth_a_line(view, sames=self._options.show_sames)):
            self._steps.append(self._step(view))
        if view.op is Op.REFRESH:
            self._refreshed.add(view.urn)
        else:
            self._refreshed.discard(view.urn)

    def _ended(self, view: StepView) -> None:
        shown = view.op is Op.DELETE or (view.op is Op.UPDATE and view.detailed_diff is not None)
        if view.urn in self._refreshed and shown:
            step = self._step(view)
            self._steps = [step if earlier["urn"] == view.urn else earlier for earlier in self._steps]

    def _step(self, view: StepView) -> dict[str, Any]:
        step = _step(view, self._mask)
        if is_stack(view) and self._options.suppress_outputs:
            for state in (step.get("oldState", {}), step.get("newState", {})):
                state.pop("inputs", None)
                state.pop("outputs", None)
        return step

    def _diagnostic(self, event: Diagnostic) -> None:
        if event.ephemeral or event.severity is Severity.DEBUG:
            return
        prefix = f"{event.severity}: " if event.severity in (Severity.ERROR, Severity.WARNING) else ""
        document = {"message": prefix + _lines(event), "severity": str(event.severity)}
        if event.urn and not event.urn.split("::", 3)[2].endswith("pulumi:pulumi:Stack"):
            document = {"urn": event.urn, **document}
        self._diagnostics.append(document)

    def _summary(self, event: Summary) -> None:
        document: dict[str, Any] = {"config": self._config} if self._config else {}
        if self._steps:
            document["steps"] = self._steps
        if self._diagnostics:
            document["diagnostics"] = self._diagnostics
        document["duration"] = int(event.seconds * 1_000_000_000)
        if event.changes:
            document["changeSummary"] = {str(op): count for op, count in sorted(event.changes.items())}
        self._print(json_text(document, indent=4, ascii_only=False))


def _step(view: StepView, mask: Callable[[str], str]) -> dict[str, Any]:
    step: dict[str, Any] = {"op": str(view.op), "urn": view.urn}
    if view.resource.provider:
        step["provider"] = view.resource.provider
    if view.old is not None:
        step["oldState"] = view.old.to_json(lambda value: _masked(plain(value), mask))
    if view.new is not None:
        step["newState"] = view.new.to_json(lambda value: _masked(plain(value), mask))
    if view.diffs:
        step["diffReasons"] = list(view.diffs)
    if view.keys:
        step["replaceReasons"] = list(view.keys)
    step["detailedDiff"] = _detailed(view)
    return step


class EventStream(Display):
    """Prints each event at once as a line of JSON. The summary is followed by the event that ends the stream."""

    def __init__(
        self,
        print_: Callable[[str], object],
        mask: Callable[[str], str],
        options: DisplayOptions,
        *,
        preview: bool,
    ) -> None:
        self._print = print_
        self._mask = mask
        self._preview = preview
        self._number = 0
        self._erred = False
        self._maybe_corrupt = False
        self._refreshed: set[str] = set()
        self._over = False

    def close(self) -> None:
        """End the stream, also if the operation failed before its first event."""
        if not self._over:
            self._over = True
            self._emit(cancelEvent={})

    def _prelude(self, event: Prelude) -> None:
        self._emit(preludeEvent={"config": _config(event)})

    def _started(self, view: StepView) -> None:
        if view.op is Op.REFRESH:
            self._refreshed.add(view.urn)
        else:
            self._refreshed.discard(view.urn)
        self._emit(resourcePreEvent=self._metadata(view))

    def _ended(self, view: StepView) -> None:
        self._emit(resOutputsEvent=self._metadata(view))

    def _failed(self, view: StepView, status: Status) -> None:
        self._maybe_corrupt = self._maybe_corrupt or status is Status.UNKNOWN
        self._emit(resOpFailedEvent={**self._metadata(view), "status": status, "steps": 0})

    def _system(self, text: str) -> None:
        self._emit(stdoutEvent={"message": text + "\n", "color": "never"})

    def _emit(self, **event: Any) -> None:
        document = {"sequence": self._number, "timestamp": int(time.time()), **event}
        self._print(json_text(document, separators=(",", ":"), ascii_only=False))
        self._number += 1

    def _diagnostic(self, event: Diagnostic) -> None:
        self._erred = self._erred or event.severity is Severity.ERROR
        named = event.severity in (Severity.ERROR, Severity.WARNING, Severity.DEBUG)
        document: dict[str, Any] = {} if _is_stack_urn(event.urn) else {"urn": event.urn}
        if named:
            document["prefix"] = f"{event.severity}: "
        document |= {
            "message": _lines(event),
            "color": "never",
            "severity": str(event.severity),
        }
        if event.ephemeral:
            document["ephemeral"] = True
        self._emit(diagnosticEvent=document)

    def _metadata(self, view: StepView) -> dict[str, Any]:
        metadata: dict[str, Any] = {"op": str(view.op), "urn": view.urn, "type": view.resource.type}
        metadata["old"] = _state(view.old, self._mask) if view.old is not None else None
        metadata["new"] = _state(view.new, self._mask) if view.new is not None else None
        if view.keys:
            metadata["keys"] = list(view.keys)
        if view.diffs:
            metadata["diffs"] = list(view.diffs)
        metadata["detailedDiff"] = _event_diff(view)
        if not view.op.is_part and view.urn not in self._refreshed:
            metadata["logical"] = True
        metadata["provider"] = view.resource.provider
        return {"metadata": metadata, **({"planning": True} if self._preview else {})}

    def _summary(self, event: Summary) -> None:
        self._emit(
            summaryEvent={
                "maybeCorrupt": self._maybe_corrupt,
                "durationSeconds": math.ceil(event.seconds),
                "resourceChanges": {str(op): count for op, count in sorted(event.changes.items())},
                "PolicyPacks": {},
                "isPreview": self._preview,
                "result": "failed" if self._erred else "succeeded",
            }
        )
        self.close()


def _lines(event: Diagnostic) -> str:
    """Return the message with its newline. A message of a stream has one more."""
    return event.message + ("\n\n" if event.stream else "\n")


def _is_stack_urn(urn: str) -> bool:
    return not urn or urn.split("::", 3)[2].endswith("pulumi:pulumi:Stack")


def _event_diff(view: StepView) -> dict[str, Any] | None:
    detailed = _detailed(view)
    if detailed is None:
        return None
    return {
        key: {"diffKind": difference["kind"], "inputDiff": difference["inputDiff"]}
        for key, difference in detailed.items()
    }


def _state(state: ResourceState, mask: Callable[[str], str]) -> dict[str, Any]:
    document: dict[str, Any] = {"type": state.type, "urn": state.urn}
    for name in ("custom", "delete"):
        if getattr(state, name):
            document[name] = True
    document |= {"id": state.id, "parent": state.parent}
    options = {"protect": "protect", "taint": "taint", "external": "external", "retain_on_delete": "retainOnDelete"}
    document |= {key: True for name, key in options.items() if getattr(state, name)}
    document |= {
        "inputs": _masked(_blinded(state.inputs), mask),
        "outputs": _masked(_blinded(state.outputs), mask),
        "provider": state.provider,
    }
    if state.init_errors:
        document["initErrors"] = state.init_errors
    return document


def _masked(value: Value, mask: Callable[[str], str]) -> Value:
    if isinstance(value, list):
        return [_masked(element, mask) for element in value]
    if isinstance(value, dict):
        return {key: _masked(element, mask) for key, element in value.items()}
    return mask(value) if isinstance(value, str) else value


def _blinded(value: Value) -> Value:
    if isinstance(value, Secret):
        return {SIGNATURE: SECRET_SIGNATURE, "ciphertext": "[secret]"}
    if isinstance(value, list):
        return [_blinded(element) for element in value]
    if isinstance(value, dict):
        return {key: _blinded(value[key]) for key in sorted(value)}
    return UNKNOWN_SENTINEL if value is UNKNOWN else value
