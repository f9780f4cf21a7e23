"""A test bench for Pulumi programs. The package gives pytest the fixture `engine`.

The program runs in the test's process. The provider plugins, their resources and the state file are real.

PYTEST_DONT_REWRITE: a test module can name this package in `pytest_plugins` and import from it, in either order.
"""

from pulumi_embedded.model.events import Diagnostic
from pulumi_embedded.model.values import UNKNOWN, Secret
from pulumi_embedded.pytest_plugin import engine
from pulumi_embedded.testing.bench import Engine
from pulumi_embedded.testing.result import Resource, Result, Step, UnexpectedResult
from pulumi_embedded.testing.stage import Program

__all__ = [
    "UNKNOWN",
    "Diagnostic",
    "Engine",
    "Program",
    "Resource",
    "Result",
    "Secret",
    "Step",
    "UnexpectedResult",
    "engine",
]
