"""The errors of the engine. A message contains what happened, on what object, and the next command."""

from __future__ import annotations

__all__ = [
    "ConfigurationError",
    "EngineError",
    "OperationFailed",
    "StackNotFound",
    "UnexpectedChanges",
    "Unsupported",
]


class EngineError(Exception):
    """An error of normal use, printed as `error: …` without a traceback."""

    exit_code = 1


class ConfigurationError(EngineError):
    """A command lacks information. The exit code is the Pulumi CLI's (3.260)."""

    exit_code = 2


class StackNotFound(EngineError):
    """The backend has no stack of this name. The exit code is the Pulumi CLI's (3.260)."""

    exit_code = 6


class UnexpectedChanges(EngineError):
    """There are changes despite `--expect-no-changes`. The exit code is the Pulumi CLI's (3.260)."""

    exit_code = 7


class OperationFailed(EngineError):
    """An operation failed, and its display has printed why. The state file contains every completed step."""

    def __init__(self, message: str, outcome: object = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class Unsupported(EngineError):
    """A program or project needs a feature that only the Pulumi CLI has."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not supported by the embedded engine; the Pulumi CLI does it: "
            "install it (https://www.pulumi.com/docs/install/) and run the same command with `pulumi`"
        )
