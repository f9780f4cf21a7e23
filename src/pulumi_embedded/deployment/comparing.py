"""What the providers say of a registration: the checked inputs, and how they differ from what is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from pulumi_embedded.deployment.cascade import ResourceError
from pulumi_embedded.deployment.registry import ProviderRegistry
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.differ import diff_objects, equal
from pulumi_embedded.model.events import Severity
from pulumi_embedded.model.goals import Goal
from pulumi_embedded.model.paths import parse_path, reset_at
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff, detailed_diff
from pulumi_embedded.model.urns import provider_urn
from pulumi_embedded.model.values import Properties, unwrap
from pulumi_embedded.processes.answers import DiffUnavailable, check_message

__all__ = ["Comparer", "Say", "ignoring", "known_diff"]

Say = Callable[[str, Severity, str], None]


class Comparer:
    """Asks the providers; `renamed` are the URNs that aliases changed in this run, old to new."""

    def __init__(self, registry: ProviderRegistry, renamed: dict[str, str], say: Say, *, preview: bool) -> None:
        self._registry = registry
        self._preview = preview
        self._renamed = renamed
        self._say = say

    def check(self, new: ResourceState, olds: Properties, news: Properties, seed: bytes) -> Properties:
        """The inputs with their defaults; raises ResourceError, each failure told, where the provider refuses them."""
        if not new.custom:
            return news
        if new.is_provider:
            inputs, failures = self._registry.check(new.urn, olds, news)
        else:
            inputs, failures = self._registry.get(new.provider).check(new.urn, olds, news, seed, self._preview)
        if failures:
            for failure in failures:
                self._say(new.urn, Severity.ERROR, check_message(new, failure, inputs))
            raise ResourceError(new.urn, "")
        return inputs

    def diff(self, goal: Goal, old: ResourceState, new: ResourceState) -> Diff:
        """How the new state differs from the old one; a change of provider may be one."""
        if self._provider_changed(old, new):
            return Diff(changes=True, replaces=("provider",))
        if not new.custom:
            return Diff(changes=not equal(old.inputs, new.inputs))
        if new.is_provider:
            return self._registry.diff(old, new.inputs)
        try:
            return self._provider_diff(old, new, goal.ignore_changes)
        except DiffUnavailable as error:
            self._say(new.urn, Severity.WARNING, str(error))
            return Diff(changes=True)

    def diff_blind(self, old: ResourceState, blind: ResourceState) -> Diff:
        """How a resource differs from itself with some inputs unknown."""
        if old.is_provider:
            return self._registry.diff(old, blind.inputs)
        return self._provider_diff(old, blind, old.ignore_changes)

    def _provider_diff(self, old: ResourceState, new: ResourceState, ignore_changes: list[str]) -> Diff:
        diff = self._registry.get(new.provider).diff(new.urn, old, new.inputs, ignore_changes)
        if diff.changes is not None:
            return diff
        return known_diff(diff, old.inputs, ignoring(self._say, new.urn, ignore_changes, new.inputs, old.inputs))

    def _provider_changed(self, old: ResourceState, new: ResourceState) -> bool:
        if old.provider == new.provider:
            return False
        if not old.provider or not new.provider:
            return True
        if self._renamed.get(provider_urn(old.provider)) == provider_urn(new.provider):
            return False
        return self._registry.diff_between(old.provider, new.provider).needs_replace


def ignoring(say: Say, urn: str, paths: Sequence[str], news: Properties, olds: Properties) -> Properties:
    """The new properties with the old values at the paths; says where that cannot be done."""
    impossible = []
    for text in paths:
        with suppress(EngineError):
            news, done = reset_at(news, olds, parse_path(text))
            impossible += [] if done else [text]
    if impossible:
        paths_text = ", ".join(impossible).replace('"', '\\"')
        message = f'cannot ignore changes in added or removed elements of the path: "{paths_text}"'
        say(urn, Severity.INFO, message)
    return news


def known_diff(diff: Diff, olds: Properties, news: Properties) -> Diff:
    """The diff of a provider that could not tell whether there are changes, decided by the inputs themselves."""
    difference = diff_objects(unwrap(olds), unwrap(news), internal=True)
    if difference is None:
        return replace(diff, changes=False)
    return replace(diff, changes=True, changed=tuple(difference.changed_keys()), detailed=detailed_diff(difference))
