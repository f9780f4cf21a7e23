"""A program can have any number of dynamic resources, because the SDK's pickler does not grow with them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from pulumi.dynamic import CreateResult, Resource, ResourceProvider, dynamic

from pulumi_embedded.processes.program import steady_pickler
from pulumi_embedded.testing import Engine

pytest_plugins = ["pulumi_embedded.testing"]


class Counting(ResourceProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("1", props)


class Item(Resource):
    def __init__(self, name: str) -> None:
        super().__init__(Counting(), name, {})


# Pickle a provider as often as the SDK does for so many resources, but without resources.
PICKLED = """
import sys
from pulumi.dynamic import CreateResult, ResourceProvider, dynamic
from pulumi_embedded.processes.program import steady_pickler

class Own(ResourceProvider):
    def create(self, props):
        return CreateResult("1", props)

sys.setrecursionlimit(400)
first = dynamic.serialize_provider(Own())
with steady_pickler():
    assert {dynamic.serialize_provider(Own()) for _ in range(150)} == {first}
    print("pickled")
for _ in range(150):
    dynamic.serialize_provider(Own())
"""


def test_providers_are_pickled_alike_however_many() -> None:
    done = subprocess.run([sys.executable, "-c", PICKLED], capture_output=True, text=True)
    assert done.stdout == "pickled\n", done.stderr
    # Without the engine's help the SDK still fails so. When it no longer does, the engine need not help it.
    # Python 3.14 adds the name of the object.
    assert "\nRecursionError" in done.stderr


def test_a_program_leaves_the_pickler_as_it_was(engine: Engine) -> None:
    serialize = dynamic.serialize_provider

    def program() -> None:
        assert dynamic.serialize_provider is not serialize
        Item("one")

    engine.program = program
    assert engine.preview().changes == {"create": 2}
    assert dynamic.serialize_provider is serialize
    with steady_pickler():
        assert dynamic.serialize_provider is not serialize
