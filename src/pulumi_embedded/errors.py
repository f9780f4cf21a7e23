"""The errors of the engine: what happened, on what, and the next command."""

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
    """Every error that normal use can meet is one of these; it is printed as `error: …` without a traceback."""

    exit_code = 1


class ConfigurationError(EngineError):
    """The command was given too little to go on. Exit code as the Pulumi CLI's (3.260)."""

    exit_code = 2


class StackNotFound(EngineError):
    """No stack of that name exists in the backend. Exit code as the Pulumi CLI's (3.260)."""

    exit_code = 6


class UnexpectedChanges(EngineError):
    """`--expect-no-changes` was given and there were changes. Exit code as the Pulumi CLI's (3.260)."""

    exit_code = 7


class OperationFailed(EngineError):
    """The operation failed and its display has already said why; the state file holds every step that ended."""

    def __init__(self, message: str, outcome: object = None) -> None:
        super().__init__(message)
        self.outcome = outcome


class Unsupported(EngineError):
    """The program or project asks for something this engine leaves to the Pulumi CLI."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} is not supported by the embedded engine; the Pulumi CLI does it: "
            "install it (https://www.pulumi.com/docs/install/) and run the same command with `pulumi`"
        )
