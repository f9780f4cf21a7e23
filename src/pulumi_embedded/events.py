"""The events of an operation, under the name that the test bench's documentation first used."""

from pulumi_embedded.model.events import *  # noqa: F403
from pulumi_embedded.model.events import __all__ as __all__
