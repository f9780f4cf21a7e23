"""On a pipe, a slow step gets a line with its action and its duration, and then further lines at growing intervals."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pulumi_embedded.display import progress, rows
from pulumi_embedded.display.objects import PropertyPrinter
from pulumi_embedded.display.options import DisplayOptions
from pulumi_embedded.display.progress import ProgressDisplay, watched
from pulumi_embedded.model.events import Diagnostic, Severity, StepEnded, StepStarted, StepView, Summary
from pulumi_embedded.model.options import Kind
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Op

STACK, ROLE, PARENT, PROVIDER = (
    f"urn:pulumi:dev::p::{kind}"
    for kind in ("pulumi:pulumi:Stack::p-dev", "t:t:Role::r", "c:c:C::c", "pulumi:providers:t::default")
)


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (progress, rows):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


def display(printed: list[str], *, preview: bool = False, brief: bool = False) -> ProgressDisplay:
    options = DisplayOptions(brief=brief)
    return ProgressDisplay(Kind.UPDATE, STACK, PropertyPrinter(1), printed.append, options, preview=preview)


def view(urn: str, *, custom: bool = True) -> StepView:
    return StepView(Op.CREATE, urn, None, ResourceState(urn, urn.split("::")[2], custom))


def test_a_slow_step_is_told_of_after_five_seconds_and_then_ever_more_rarely(clock: Clock) -> None:
    printed: list[str] = []
    shown = display(printed)
    shown(StepStarted(view(PARENT, custom=False)))
    shown(StepStarted(view(ROLE)))
    del printed[:]
    for _ in range(40):
        clock.now += 1
        shown.tell_slow()
    assert printed == [f" +  t:t:Role r creating ({seconds}s) " for seconds in (5, 15, 35)]
    shown(StepEnded(view(ROLE)))
    del printed[:]
    clock.now += 100
    shown.tell_slow()
    assert printed == []


def test_a_step_that_tells_of_itself_needs_no_other_line(clock: Clock) -> None:
    printed: list[str] = []
    shown = display(printed)
    shown(StepStarted(view(ROLE)))
    for _ in range(5):
        clock.now += 4
        shown(Diagnostic(ROLE, Severity.INFO, "rewriting", ephemeral=True))
        clock.now += 0.9
        shown.tell_slow()
    assert len([line for line in printed if "rewriting" in line]) == 5 == len(printed) - 1


def test_each_second_prints_the_newest_progress_of_a_slow_step(clock: Clock) -> None:
    printed: list[str] = []
    shown = display(printed)
    shown(StepStarted(view(ROLE)))
    del printed[:]
    for done in (1, 2, 3):
        shown(Diagnostic(ROLE, Severity.INFO, f"applied {done} of 4", ephemeral=True))
    clock.now += 1
    shown.tell_slow()
    assert printed == [" +  t:t:Role r creating (1s) applied 3 of 4"]
    shown(Diagnostic(ROLE, Severity.INFO, "applied 4 of 4", ephemeral=True))
    shown(StepEnded(view(ROLE)))
    shown.tell_slow()
    assert printed[1:] == [" +  t:t:Role r created (1s) applied 4 of 4"]


@pytest.mark.parametrize("urn", [STACK, PARENT, PROVIDER], ids=["stack", "component", "provider"])
def test_what_is_only_in_the_state_has_no_line(clock: Clock, urn: str) -> None:
    printed: list[str] = []
    shown = display(printed)
    step = view(urn, custom=urn not in (STACK, PARENT))
    shown(StepStarted(step))
    del printed[:]
    shown(StepEnded(step))
    shown(Summary({Op.CREATE: 1}, 1.0))
    assert printed[0].startswith("Resources:")


def test_a_preview_that_is_not_shown_stays_silent(clock: Clock) -> None:
    printed: list[str] = []
    shown = display(printed, preview=True, brief=True)
    shown(StepStarted(view(ROLE)))
    clock.now += 100
    shown.tell_slow()
    assert len(printed) == 1, "the heading"


def test_the_steps_are_looked_at_while_the_operation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told = threading.Event()
    shown = display([])
    monkeypatch.setattr(shown, "tell_slow", told.set)
    with watched(shown):
        assert told.wait(30)
    assert not [thread for thread in threading.enumerate() if thread.name == "slow steps"]


@pytest.mark.parametrize("first", [Op.REFRESH, Op.DELETE])
def test_outputs_are_printed_unless_another_resource_was_changed_first(first: Op) -> None:
    printed: list[str] = []
    shown = display(printed)
    role, stack = (
        ResourceState(ROLE, "t:t:Role", custom=True),
        ResourceState(STACK, "pulumi:pulumi:Stack", custom=False),
    )
    shown(StepStarted(StepView(first, ROLE, role, role)))
    shown(StepStarted(StepView(Op.CREATE, STACK, None, stack)))
    stack.outputs = {"name": "r"}
    shown(StepEnded(StepView(Op.CREATE, STACK, None, stack)))
    shown(Summary({Op.CREATE: 1}))
    assert any(text.startswith("Outputs:\n") for text in printed) == (first is Op.REFRESH)
