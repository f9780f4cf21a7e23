"""The provider of the package `pulumi`, which is the engine: stack references and resources of this run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.model.events import Severity
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.steps import Diff
from pulumi_embedded.model.urns import urn_type
from pulumi_embedded.model.values import Properties, contains_secrets
from pulumi_embedded.processes.answers import CheckFailure, ProviderError, ReadResult
from pulumi_embedded.processes.provider import Provider

__all__ = ["BUILTIN", "BUILTIN_TYPES", "BuiltinProvider"]

BUILTIN: Final = "pulumi"
_STACK_REFERENCE: Final = "pulumi:pulumi:StackReference"
_READ_STACK_OUTPUTS: Final = "pulumi:pulumi:readStackOutputs"
_GET_RESOURCE: Final = "pulumi:pulumi:getResource"
BUILTIN_TYPES: Final = {_STACK_REFERENCE, _READ_STACK_OUTPUTS, _GET_RESOURCE}


class BuiltinProvider(Provider):
    """Answers like the Pulumi CLI's own provider (3.260). Rejects what the engine does not support, by name."""

    def __init__(
        self,
        outputs_of: Callable[[str], tuple[Properties, bool]],
        find: Callable[[str], ResourceState | None],
        say: Callable[[str, Severity, str], None],
    ) -> None:
        self._outputs_of = outputs_of
        self._find = find
        self._say = say

    def check_config(self, urn: str, olds: Properties, news: Properties) -> tuple[Properties, list[CheckFailure]]:
        """Accept the configuration, which is empty."""
        return {}, []

    def diff_config(self, urn: str, old: ResourceState, news: Properties) -> Diff:
        """Return no difference, because the configuration is empty."""
        return Diff(changes=False)

    def configure(self, urn: str, id_: str, inputs: Properties) -> None:
        """Do nothing, because the configuration is empty."""

    def check(
        self, urn: str, olds: Properties, news: Properties, seed: bytes, preview: bool
    ) -> tuple[Properties, list[CheckFailure]]:
        """Reject the resource: the provider's resources are only read."""
        raise Unsupported(f"a registration of {urn_type(urn)}")

    def read(self, old: ResourceState) -> ReadResult:
        """Return the present outputs of a stack. Other resources are returned as in the state."""
        if urn_type(old.urn) != _STACK_REFERENCE:
            return ReadResult(old.id, old.outputs, old.inputs)
        return ReadResult(old.id, self._read_stack(old.inputs), old.inputs)

    def import_(self, urn: str, id_: str, timeout: float) -> ReadResult:
        """Reject the import, as the CLI does."""
        raise EngineError("stack reference can not be imported")

    def _read_stack(self, inputs: Properties) -> Properties:
        name = inputs["name"]
        outputs, whole = self._outputs_of(name)
        if not whole:
            self._say("", Severity.INFO, f"eliding undecryptable secrets for stack reference '{name}'")
        secret = sorted(key for key, value in outputs.items() if contains_secrets(value))
        return {"name": name, "outputs": outputs, "secretOutputNames": secret}

    def delete(self, old: ResourceState) -> None:
        """Do nothing."""

    def invoke(self, token: str, arguments: Properties, preview: bool) -> tuple[Properties | None, list[CheckFailure]]:
        """Return a stack's outputs, or a resource that this run has registered."""
        try:
            return (self._get_resource if token == _GET_RESOURCE else self._read_stack)(arguments), []
        except EngineError as error:
            raise ProviderError(str(error)) from None

    def _get_resource(self, arguments: Properties) -> Properties:
        urn = arguments["urn"]
        state = self._find(urn)
        if state is None:
            raise EngineError(f"unknown resource {urn}")
        return {"urn": urn, "id": state.id, "provider": state.provider, "state": state.outputs}
