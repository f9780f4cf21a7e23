"""No display passes commands to a terminal or a CI log, for any text of a program, a plugin or a state."""

from __future__ import annotations

import io
import json
import re
import sys
from types import SimpleNamespace
from typing import cast

import pytest

from pulumi_embedded.display.choice import DisplayOptions, display_for, show_details
from pulumi_embedded.display.live import live_display
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.model.events import (
    Diagnostic,
    Event,
    Prelude,
    Severity,
    Status,
    StepEnded,
    StepFailed,
    StepStarted,
    StepView,
    Summary,
    SystemMessage,
)
from pulumi_embedded.model.options import Kind, Options
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import DiffKind, Op, PropertyDiff
from pulumi_embedded.model.values import ConfigValue
from pulumi_embedded.printable import GuardedStream
from pulumi_embedded.storage.target import Target
from tests.unit.test_printable import HOSTILE, assert_harmless

# The control sequences that rich writes itself.
OWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?=\x1b|\n|$)")


ROOT = "urn:pulumi:dev::p::pulumi:pulumi:Stack::p-dev"


def events(text: str) -> list[Event]:
    """Return one event of each kind, with the text in every field that can come from outside."""
    urn = f"urn:pulumi:dev::p::{text}$a:b:{text}::{text}"
    long = f"{text}\nsecond\n{text}\n{text}third"
    old = ResourceState(urn=urn, type=text, custom=True, parent=ROOT)
    old.inputs, old.outputs = {text: text, "long": long}, {"o": text}
    new = old.copy()
    new.inputs, new.outputs = {"added": {text: [text]}, "long": f"{long}\n::x"}, {"o": f"{text}2", text: long}
    root = ResourceState(urn=ROOT, type="pulumi:pulumi:Stack", custom=False)
    root.outputs = {text: text, "long": long}
    change = {text: PropertyDiff(DiffKind.UPDATE, False), "long": PropertyDiff(DiffKind.UPDATE, True)}
    views = [
        StepView(Op.SAME, ROOT, None, root),
        StepView(Op.UPDATE, urn, old, new, (text,), (text,), change),
        StepView(Op.UPDATE, urn, old, new),
        StepView(Op.DELETE, urn, old, None),
        StepView(Op.CREATE, urn, None, new),
    ]
    said = [Diagnostic(where, level, long, stream=each) for where in (urn, "") for level in Severity for each in (0, 1)]
    said.append(Diagnostic(urn, Severity.INFO, text, ephemeral=True))
    steps = [kind(view) for view in views for kind in (StepStarted, StepEnded)]
    end = [StepFailed(views[1], Status.UNKNOWN), Summary({Op.UPDATE: 1}, 1.0)]
    return [Prelude({text: ConfigValue(text, False)}), *steps[:4], *said, SystemMessage(text), *steps[4:], *end]


TARGET = cast(Target, SimpleNamespace(stack="dev", project=SimpleNamespace(name="p"), config={}))


@pytest.mark.few(9)
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize("form", ["lines", "diff", "json", "urns"])
@pytest.mark.parametrize("color", [True, False])
def test_no_display_lets_a_text_command_anything(
    kind: Kind, preview: bool, form: str, color: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = DisplayOptions(
        json=form == "json",
        diff=form == "diff",
        color=color,
        show_config=True,
        show_urns=form == "urns",
        show_sames=True,
    )
    for text in HOSTILE:
        out, err = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdout", GuardedStream(out))
        monkeypatch.setattr(sys, "stderr", GuardedStream(err))
        with display_for(TARGET, Options(kind, preview, False, 1, (), False, False, ()), chosen) as display:
            for event in events(text):
                display(event)
        monkeypatch.undo()
        printed = out.getvalue()
        assert len(printed) > 100
        assert_harmless(OWN.sub("", printed) if color else printed)
        assert_harmless(err.getvalue())
        if form == "json" and preview:
            assert json.loads(printed)["config"] == {text: text}


def test_neither_does_the_live_one_nor_its_details(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in HOSTILE:
        out = io.StringIO()
        monkeypatch.setattr(sys, "stdout", GuardedStream(out))
        chosen = DisplayOptions(live=True, color=True, show_sames=True)
        with live_display(Kind.UPDATE, ROOT, PropertyPrinter(1), chosen, preview=True) as display:
            for event in events(text):
                display(event)
        chosen.previewed.extend(events(text))
        show_details(TARGET, Kind.UPDATE, chosen)
        monkeypatch.undo()
        assert_harmless(OWN.sub("", out.getvalue()))
