"""For every change of a program, the state equals the provider's objects, and every step respects the dependencies.

`make test-all` searches longer.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from pulumi_embedded.model.events import Event, StepEnded, StepStarted
from pulumi_embedded.testing import Engine, Resource, Result, UnexpectedResult
from tests.conftest import ALL

from .fake import Call, FakeProvider
from .order import check_order
from .program import MOST, TYPE, Entry, Program

NUMBERS = strategies.integers(0, MOST - 1)
FLAGS = strategies.fixed_dictionaries(
    {flag: strategies.sampled_from([False, False, True]) for flag in ("component", "protect", "retain")}
    | {flag: strategies.booleans() for flag in ("delete_first", "replace_on_value")}
)
PARALLEL = strategies.sampled_from([1, 4, 16])
PICKS = strategies.lists(NUMBERS, max_size=2)
LINKS = strategies.fixed_dictionaries({"needs": PICKS, "fixed_needs": PICKS, "after": PICKS, "parent": PICKS})


class Machine(RuleBasedStateMachine):
    """A program that changes randomly, and operations on its stack that can fail or be cancelled."""

    def __init__(self, provider: FakeProvider) -> None:
        super().__init__()
        provider.reset()
        self.provider = provider
        self.engine = Engine(Path(tempfile.mkdtemp()))
        self.engine.program = self.program = Program()
        self.engine.watch = self._watch
        self.broken_files: list[str] = []
        self.found_wrong = self.began = False
        self.cancel_at = 0
        # Objects that were left intentionally.
        self.retained: set[str] = set()

    # Changes of the program

    @precondition(lambda self: len(self.program.entries) < MOST)
    @rule(batch=strategies.lists(strategies.tuples(FLAGS, LINKS), min_size=1, max_size=6))
    def add(self, batch: list[tuple[dict[str, bool], dict[str, list[int]]]]) -> None:
        for flags, links in batch[: MOST - len(self.program.entries)]:
            name = self.program.new_name()
            entry = Entry(f"k{name}", name, **flags)
            entry.after = self._picked(links["after"])
            entry.parent = "".join(self._picked(links["parent"][:1], things=False))
            if not entry.component:
                entry.needs = self._picked(links["needs"])
                entry.fixed_needs = self._picked(links["fixed_needs"])
            self.program.add(entry)

    def _picked(self, picks: list[int], *, things: bool = True) -> list[str]:
        entries = self.program.things() if things else list(self.program.entries.values())
        return sorted({entries[pick % len(entries)].key for pick in picks}) if entries else []

    def _entry(self, pick: int) -> Entry:
        return list(self.program.entries.values())[pick % len(self.program.entries)]

    @precondition(lambda self: self.program.entries)
    @rule(pick=NUMBERS)
    def remove(self, pick: int) -> None:
        self.program.remove(self._entry(pick).key)

    @precondition(lambda self: self.program.entries)
    @rule(pick=NUMBERS, alias=strategies.booleans())
    def rename(self, pick: int, alias: bool) -> None:
        entry = self._entry(pick)
        entry.aliases = [*entry.aliases, entry.name] if alias else []
        entry.name = self.program.new_name()

    @precondition(lambda self: self.program.entries)
    @rule(picks=strategies.lists(NUMBERS, min_size=1, max_size=4), what=strategies.sampled_from(["value", "fixed"]))
    def change(self, picks: list[int], what: str) -> None:
        for pick in picks:
            entry = self._entry(pick)
            setattr(entry, what, getattr(entry, what) + 1)

    @precondition(lambda self: self.program.entries)
    @rule(
        pick=NUMBERS,
        flag=strategies.sampled_from(["protect", "retain", "delete_first", "replace_on_value"]),
    )
    def toggle(self, pick: int, flag: str) -> None:
        entry = self._entry(pick)
        setattr(entry, flag, not getattr(entry, flag))

    @precondition(lambda self: len(self.program.entries) > 1)
    @rule(pick=NUMBERS, link=strategies.sampled_from(["needs", "fixed_needs", "after"]), other=NUMBERS)
    def depend(self, pick: int, link: str, other: int) -> None:
        entries = list(self.program.entries.values())
        place = 1 + pick % (len(entries) - 1)
        entry, target = entries[place], entries[other % place]
        keys = getattr(entry, link)
        if target.key in keys:
            keys.remove(target.key)
        elif not target.component and (link == "after" or not entry.component):
            keys.append(target.key)

    # Operations

    @precondition(lambda self: self.program.entries)
    @rule(parallel=PARALLEL)
    def up(self, parallel: int) -> None:
        result = self._operate(lambda: self.engine.up(parallel=parallel))
        if not result.failed:
            self._is_the_program(result)

    @precondition(lambda self: self.program.things())
    @rule(parallel=PARALLEL, method=strategies.sampled_from(["create", "update", "delete", "half"]), picks=PICKS)
    def up_fails(self, parallel: int, method: str, picks: list[int]) -> None:
        keys = self._picked(picks)
        for key in keys:
            if method == "update":
                self.program.entries[key].value += 1
            elif method == "delete":
                self.program.remove(key)
        self.provider.fail(**{method: keys})
        self._operate(lambda: self.engine.up(parallel=parallel))
        self.provider.fail()

    @precondition(lambda self: self.program.entries)
    @rule(parallel=PARALLEL, at=strategies.integers(1, 12))
    def up_is_cancelled(self, parallel: int, at: int) -> None:
        self.cancel_at = at
        self._operate(lambda: self.engine.up(parallel=parallel))
        self.cancel_at = 0

    @precondition(lambda self: self.program.entries)
    @rule()
    def preview(self) -> None:
        self._state()
        before = self.engine.state_file.read_bytes()
        self._result(self.engine.preview)
        assert self.provider.take_calls() == []
        assert before == self.engine.state_file.read_bytes()

    @precondition(lambda self: self.began)
    @rule(parallel=PARALLEL, at=strategies.sampled_from([0, 1, 3]), picks=PICKS)
    def destroy(self, parallel: int, at: int, picks: list[int]) -> None:
        self.cancel_at = at
        self.provider.fail(delete=self._picked(picks))
        result = self._operate(lambda: self.engine.destroy(parallel=parallel))
        assert result.failed or result.resources == []
        self.provider.fail()
        self.cancel_at = 0

    @precondition(lambda self: self.began)
    @rule(pick=NUMBERS, lost=strategies.booleans())
    def refresh(self, pick: int, lost: bool) -> None:
        """A refresh finds objects that were lost without the engine's knowledge."""
        ids = sorted(self._state())
        lost = lost and bool(ids)
        if lost:
            self.provider.lose(ids[pick % len(ids)])
        result = self._operate(self.engine.refresh)
        assert not result.failed, result.errors
        assert result.has_changes is lost

    def teardown(self) -> None:
        """Check at the end that the repaired stack comes up, stays unchanged, and can be destroyed."""
        try:
            if not self.found_wrong:
                self._ends_well()
        finally:
            shutil.rmtree(self.engine.folder)

    def _ends_well(self) -> None:
        self.provider.fail()
        self._unprotect()
        if self.program.entries:
            result = self._operate(self.engine.up)
            assert not result.failed, result.errors
            self._is_the_program(result)
        self._unprotect()
        result = self._operate(self.engine.destroy)
        assert not result.failed, result.errors
        assert result.resources == []
        assert self.provider.objects().keys() == self.retained

    def _unprotect(self) -> None:
        """Do what `pulumi state unprotect` does."""
        for entry in self.program.entries.values():
            entry.protect = False
        self._state()
        document = json.loads(self.engine.state_file.read_text())
        for resource in document["checkpoint"]["latest"].get("resources", []):
            resource.pop("protect", None)
        self.engine.state_file.write_text(json.dumps(document))

    # Invariants

    def _watch(self, event: Event) -> None:
        if isinstance(event, StepStarted) and self.cancel_at:
            self.cancel_at -= 1
            if not self.cancel_at:
                self.engine.cancel()
        if isinstance(event, StepEnded):
            try:
                json.loads(self.engine.state_file.read_text())
            except ValueError as error:
                self.broken_files.append(str(error))

    def _result(self, operation: Callable[[], Result]) -> Result:
        try:
            result = operation()
        except UnexpectedResult as unexpected:
            result = unexpected.result
        assert not [each for each in result.errors if "engine failed" in each or "exception" in each], result.errors
        assert self.broken_files == []
        return result

    def _operate(self, operation: Callable[[], Result]) -> Result:
        self.found_wrong = self.began = True
        before = self._state()
        objects = self.provider.objects()
        result = self._result(operation)
        calls = self.provider.take_calls()
        self._failed_for_a_reason(result, calls)
        self._is_what_the_provider_has(before)
        check_order(self.program, before, objects, calls, result)
        self.found_wrong = False
        return result

    def _state(self) -> dict[str, Resource]:
        """Return the provider's objects by id according to the state.

        A resource that was deleted before its replacement has none.
        """
        held = [each for each in self.engine.resources if each.type == TYPE and not each.state.pending_replacement]
        assert len({each.id for each in held}) == len(held), "one object is in the state twice"
        return {each.id: each for each in held}

    def _is_what_the_provider_has(self, before: dict[str, Resource]) -> None:
        after, objects = self._state(), self.provider.objects()
        left = {id_ for id_, each in before.items() if id_ not in after and each.state.retain_on_delete}
        self.retained |= left & objects.keys()
        assert {id_: each.inputs for id_, each in after.items()} == {
            id_: inputs for id_, inputs in objects.items() if id_ not in self.retained
        }
        known: set[str] = set()
        for each in self.engine.resources:
            assert each.state.all_dependencies() <= known, f"{each.urn} comes before what it depends on"
            known.add(each.urn)
        assert "pending_operations" not in json.loads(self.engine.state_file.read_text())["checkpoint"]["latest"]

    def _failed_for_a_reason(self, result: Result, calls: list[Call]) -> None:
        failed = [each for each in calls if each.failed]
        told = [each for each in result.errors if "told to" in each or "protect" in each]
        reasons = failed or result.cancelled or told
        assert bool(reasons) is result.failed, (result.errors, failed)

    def _is_the_program(self, result: Result) -> None:
        """Check an update without failure: the provider has what the program says, and another update does nothing."""
        wanted = {
            each.key: (each.name, each.value, each.fixed, each.needs, each.fixed_needs)
            for each in self.program.things()
        }
        state = self._state()
        keys = {id_: each.inputs["key"] for id_, each in state.items()}
        assert wanted == {
            each.inputs["key"]: (
                each.name,
                *(each.inputs[name] for name in ("value", "fixed")),
                *([keys[id_] for id_ in each.inputs[name]] for name in ("needs", "fixed_needs")),
            )
            for each in state.values()
        }
        again = self._result(self.engine.up)
        assert self.provider.take_calls() == []
        assert not again.failed and not again.has_changes, again.changes


def test_the_state_is_what_the_provider_has(provider: FakeProvider) -> None:
    chosen = settings(
        max_examples=200 if ALL else 2,
        # The few examples of the default suite are always the same, and are not shrunk.
        phases=settings.default.phases if ALL else [Phase.generate],
        stateful_step_count=25 if ALL else 12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Machine(provider), settings=chosen)
