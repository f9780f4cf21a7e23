"""Let the providers check the inputs of a registration and compare them with the state."""

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
    """Calls the providers. `renamed` maps the old URNs that aliases changed in this run to the new ones."""

    def __init__(self, registry: ProviderRegistry, renamed: dict[str, str], say: Say, *, preview: bool) -> None:
        self._registry = registry
        self._preview = preview
        self._renamed = renamed
        self._say = say

    def check(self, new: ResourceState, olds: Properties, news: Properties, seed: bytes) -> Properties:
        """Return the inputs with their defaults.

        Raises:
            ResourceError: The provider rejects the inputs. Each failure was reported.

        """
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
        """Return how the new state differs from the old one. Another provider can be a difference."""
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
        """Return how a resource differs from itself with some inputs unknown."""
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
    """Return the new properties with the old values at the ignored paths. Report paths where that is not possible."""
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
    """Return the difference of the inputs, for a provider that does not know whether there are changes."""
    difference = diff_objects(unwrap(olds), unwrap(news), internal=True)
    if difference is None:
        return replace(diff, changes=False)
    return replace(diff, changes=True, changed=tuple(difference.changed_keys()), detailed=detailed_diff(difference))
