"""The output of `pulumi preview --json` as values. `pulumi` and `pulumi-embedded` print the same document. Pure."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pulumi_alembic.errors import MigrationError
from pulumi_alembic.output.redact import redact
from pulumi_alembic.review.plan_review import PlanReview

__all__ = [
    "MIGRATIONS",
    "STACK",
    "Diagnostic",
    "Planned",
    "Preview",
    "PreviewError",
    "Step",
    "of_review",
    "parse",
    "read",
]

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WANTED = "give it what `pulumi preview --json` prints"


def parse(data: bytes | str) -> Any:
    """Return the JSON value in `data`.

    Args:
        data: A text, or bytes in UTF-8, or in UTF-16 with its byte order mark, as PowerShell redirects output.

    Raises:
        ValueError: The data is something else, which the text names in one line.

    """
    if not data.strip():
        raise ValueError(f"this is empty: {_WANTED}. If the preview itself failed, its standard error says why")
    try:
        text = data if isinstance(data, str) else data.decode("utf-16" if data.startswith(_UTF_16) else "utf-8-sig")
        return json.loads(text)
    except UnicodeDecodeError:
        raise ValueError(f"this is not text: {_WANTED}") from None
    except RecursionError:
        raise ValueError(f"this JSON is nested too deeply for a preview: {_WANTED}") from None
    except json.JSONDecodeError as error:
        raise ValueError(_instead(text, error)) from None
    except ValueError as error:
        raise ValueError(f"this JSON holds a number that no preview has: {error}") from None


def _instead(text: str, error: json.JSONDecodeError) -> str:
    start = text.lstrip()
    if start.startswith("{") and _is_event(start.partition("\n")[0]):
        return (
            "this is a stream of events, one object a line, and not one preview: use `pulumi preview --json`, without "
            "PULUMI_ENABLE_STREAMING_JSON_PREVIEW"
        )
    if start.startswith("Previewing "):
        return "this is a preview as people read it: use `pulumi preview --json`"
    if start.startswith("{") and not text.rstrip().endswith("}"):
        return f"this is cut off: it starts as JSON and ends in the middle, at line {text.count(chr(10)) + 1}"
    return f"this is not JSON, at line {error.lineno}, column {error.colno}: {_WANTED}, its standard error kept apart"


def _is_event(line: str) -> bool:
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and "sequence" in event


MIGRATIONS = "pulumi-python:dynamic/alembic:Migrations"
STACK = "pulumi:pulumi:Stack"

_PLAN, _PLANS = "__plan", "__plans"
_DATABASE = "postgresql:index/database:Database"
_KEYS = ("steps", "diagnostics", "changeSummary", "duration")
_SAME = ("same", "refresh", "read")
_GOING = ("delete", "delete-replaced", "replace")
# The provider returns a plan in one line, and its review only if it has steps.
_IDLE = re.compile(r"at (\S+): nothing pending")
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|<\{%[^%]*%\}>")


class PreviewError(MigrationError):
    """The text is not the output of `pulumi preview --json`, or contains a plan of another version."""


@dataclass(frozen=True)
class Step:
    """An operation on one resource. `drops` is the database that is dropped with it. Empty if there is none."""

    op: str
    urn: str
    type: str
    name: str
    drops: str = ""


@dataclass(frozen=True)
class Planned:
    """The plan of a migrations resource that the stack keeps or creates.

    A resource with many databases has one of these for each different plan.

    Attributes:
        review: The review of the plan. None if there is no plan.
        problem: Why there is no plan.
        digest: The digest that an approval of the resource names.
        databases: Which databases have this plan, in words.
        drift: What a refresh found: pairs of a name and its lines.

    """

    urn: str
    name: str
    review: PlanReview | None
    problem: str = ""
    digest: str = ""
    databases: str = ""
    drift: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True)
class Diagnostic:
    """A message of the preview without colours. `resource` is the name of its resource, or empty."""

    severity: str
    message: str
    resource: str = ""


@dataclass(frozen=True)
class Preview:
    """A preview, without unchanged resources.

    Attributes:
        stack: The stack. Empty if no step names it.
        project: The project. Empty if no step names it.
        unchanged: The number of unchanged resources.
        plans: The plans, with those of one resource next to each other.
        forgotten: The migrations resources that the stack deletes. Their schema remains.

    """

    stack: str
    project: str
    steps: tuple[Step, ...]
    unchanged: int
    plans: tuple[Planned, ...]
    forgotten: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]

    @property
    def planned(self) -> int:
        """The number of resources with plans."""
        return len({plan.urn for plan in self.plans})

    @property
    def failed(self) -> bool:
        """Whether the preview ended with an error, and can lack steps."""
        return any(diagnostic.severity == "error" for diagnostic in self.diagnostics)


def read(data: bytes) -> Preview:
    """Return the preview in `data`. Raises PreviewError, with one line, if it is something else."""
    document = _document(data)
    if "steps" in document and document["steps"] is None:
        raise PreviewError("steps is null: this is not what `pulumi preview --json` prints")
    states = [_object(entry, f"steps[{number}]") for number, entry in enumerate(_list(document, "steps"))]
    steps = [_step(state, f"steps[{number}]") for number, state in enumerate(states)]
    planned, forgotten = {}, []
    for step, state in zip(steps, states, strict=True):
        if step.type == MIGRATIONS and step.op in ("delete", "delete-replaced"):
            forgotten.append(step.name)
        elif step.type == MIGRATIONS and step.op != "refresh":
            first, *others = _planned(step, state)
            planned[step.urn] = [replace(first, drift=_drift(state)), *others]
    diagnostics = [
        _diagnostic(_object(diagnostic, f"diagnostics[{number}]"), f"diagnostics[{number}]")
        for number, diagnostic in enumerate(_list(document, "diagnostics"))
    ]
    # The drift has its own part of the report, so its warnings are not repeated.
    plans = tuple(plan for several in planned.values() for plan in several)
    drifted = {plan.name for plan in plans if plan.drift}
    drifts = [
        diagnostic
        for diagnostic in diagnostics
        if diagnostic.message.startswith("drift, ") and diagnostic.resource in drifted
    ]
    parts = _urn(steps[0].urn, "steps[0].urn") if steps else ("", "", "", "")
    unchanged = _object(document.get("changeSummary") or {}, "changeSummary").get("same", 0)
    return Preview(
        stack=parts[0],
        project=parts[1],
        steps=tuple(step for step in steps if step.op not in _SAME),
        unchanged=unchanged if isinstance(unchanged, int) else 0,
        plans=plans,
        forgotten=tuple(dict.fromkeys(forgotten)),
        diagnostics=tuple(
            diagnostic
            for diagnostic in diagnostics
            if diagnostic.severity in ("error", "warning") and diagnostic not in drifts
        ),
    )


def of_review(review: PlanReview) -> Preview:
    """Return a preview that contains only the plan of one database, without a stack."""
    digest = review.digest if review.revisions else ""
    return Preview("", "", (), 0, (Planned("", review.database, review, digest=digest),), (), ())


def _document(data: bytes) -> Mapping[str, Any]:
    try:
        document = parse(data)
    except ValueError as error:
        raise PreviewError(str(error)) from None
    if not isinstance(document, Mapping):
        raise PreviewError("this is JSON, but not the one object that `pulumi preview --json` prints")
    if not any(key in document for key in _KEYS):
        names = ", ".join(sorted(document)[:5])[:80] or "nothing"
        keys = ", ".join(_KEYS)
        raise PreviewError(f"this is not what `pulumi preview --json` prints: it has {names}, and none of {keys}")
    return document


def _step(state: Mapping[str, Any], place: str) -> Step:
    op, urn = _text(state, "op", place), _text(state, "urn", place)
    _, _, type_, name = _urn(urn, f"{place}.urn")
    old = _object(state.get("oldState") or {}, f"{place}.oldState")
    gone = type_ == _DATABASE and op in _GOING and not old.get("retainOnDelete")
    return Step(op, urn, type_, name, _database_name(old) or name if gone else "")


def _database_name(old: Mapping[str, Any]) -> str:
    for part in ("outputs", "inputs"):
        values = old.get(part)
        if isinstance(values, Mapping) and isinstance(values.get("name"), str):
            return str(values["name"])
    return ""


def _planned(step: Step, state: Mapping[str, Any]) -> list[Planned]:
    new = _object(state.get("newState") or {}, "newState")
    inputs = _object(new.get("inputs") or {}, "newState.inputs")
    stored = inputs.get(_PLANS, inputs.get(_PLAN))
    bare = Planned(step.urn, step.name, None)
    if stored is None:
        shown = inputs.get("plan")
        if isinstance(shown, str) and (idle := _IDLE.fullmatch(shown)):
            return [replace(bare, review=PlanReview(idle[1], idle[1], "upgrade"))]
        addition = f"; it says only: {shown}" if isinstance(shown, str) and shown else ""
        return [replace(bare, problem=f"the preview holds no plan that can be read here{addition}")]
    if stored == "[secret]":
        return [replace(bare, problem="its plan is a secret in the preview")]
    digest = inputs.get("digest")
    bare = replace(bare, digest=digest if isinstance(digest, str) else "")
    try:
        values = _redacted(parse(stored) if isinstance(stored, str) else stored)
        if _PLANS in inputs:
            return [_of_many(bare, value) for value in values]
        return [replace(bare, review=PlanReview.from_json(values))]
    except (MigrationError, LookupError, TypeError, ValueError) as error:
        advice = "Make the report with the version of pulumi-alembic that the preview was made with"
        text = " ".join(str(error).split())[:300]
        raise PreviewError(f"the plan of {step.name[:80]!r} cannot be read: {text}. {advice}") from None


def _of_many(bare: Planned, answer: Mapping[str, Any]) -> Planned:
    """Return one of the plans of a resource with many databases. If there are too many plans, it is only counted."""
    plan = answer["plan"]
    return replace(
        bare,
        review=PlanReview.from_json(plan) if plan is not None else None,
        problem="" if plan is not None else "The preview does not hold so many plans",
        databases=str(answer["databases"]),
    )


def _drift(state: Mapping[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return the drift that the refresh before the preview left in the state."""
    outputs = _object(state.get("oldState") or {}, "oldState").get("outputs")
    stored = outputs.get("drift") if isinstance(outputs, Mapping) else None
    if not isinstance(stored, Mapping):
        return ()
    listed = ((name, lines if isinstance(lines, list) else []) for name, lines in stored.items())
    return tuple((redact(str(name)), tuple(redact(str(line)) for line in lines)) for name, lines in listed)


def _redacted(value: Any) -> Any:
    if isinstance(value, list):
        return [_redacted(item) for item in value]
    if isinstance(value, dict):
        return {key: _redacted(item) for key, item in value.items()}
    return redact(value) if isinstance(value, str) else value


def _diagnostic(item: Mapping[str, Any], place: str) -> Diagnostic:
    severity = _text(item, "severity", place)
    message = redact(_ESCAPES.sub("", _text(item, "message", place))).strip().removeprefix(f"{severity}: ")
    urn = item.get("urn")
    return Diagnostic(severity, message, _urn(urn, f"{place}.urn")[3] if isinstance(urn, str) and urn else "")


def _urn(urn: str, place: str) -> tuple[str, str, str, str]:
    """Return a URN's stack, project, own type and name."""
    parts = urn.removeprefix("urn:pulumi:").split("::", 3)
    if len(parts) != 4 or not urn.startswith("urn:pulumi:"):
        raise PreviewError(f"{place} is not a URN: {urn[:80]!r}")
    return parts[0], parts[1], parts[2].rpartition("$")[2], parts[3]


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key) or []
    if not isinstance(value, list):
        raise PreviewError(f"{key} is not a list, as in a preview: {str(value)[:80]!r}")
    return value


def _object(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PreviewError(f"{place} is not an object, as in a preview: {str(value)[:80]!r}")
    return value


def _text(item: Mapping[str, Any], key: str, place: str) -> str:
    value = item.get(key)
    if not isinstance(value, str):
        raise PreviewError(f"{place}.{key} is not a text, as in a preview: {str(value)[:80]!r}")
    return value
