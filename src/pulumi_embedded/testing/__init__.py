"""A test bench for Pulumi programs: the package gives pytest the fixture `engine`.

The program runs in the process of the test; the provider plugins, what they manage and the state file are real.

PYTEST_DONT_REWRITE: a test module may name it in `pytest_plugins` and import from it, in either order.
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
