"""The events of an operation, by the name that the documentation of the test bench gave first."""

from pulumi_embedded.model.events import *  # noqa: F403
from pulumi_embedded.model.events import __all__ as __all__
