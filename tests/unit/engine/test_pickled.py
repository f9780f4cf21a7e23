"""The modules that the dynamic providers of a state need, read from pickles that are not executed."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path

import dill
import pytest
from pulumi.dynamic import ResourceProvider

from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.values import Secret
from pulumi_embedded.processes.pickled import modules_of
from taskdb.passwords import PasswordProvider


def state(provider: object) -> ResourceState:
    return ResourceState("urn:of-one", "m:i:T", custom=True, inputs={"__provider": provider})


def packed(value: object) -> str:
    return base64.b64encode(dill.dumps(value)).decode()


class Run:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_provider_names_its_module_once_in_the_order_of_the_resources() -> None:
    ours, base = packed(PasswordProvider()), packed(ResourceProvider())
    found = modules_of([state(Secret(ours)), state(base), ResourceState("urn:c", "m:i:C", custom=False), state(ours)])
    assert found == ["taskdb.passwords", "pulumi.dynamic.dynamic"]


def test_nothing_of_a_provider_is_run(tmp_path: Path) -> None:
    provider = packed(Run(tmp_path / "ran"))
    modules_of([state(provider)])
    assert not (tmp_path / "ran").exists()
    dill.loads(base64.b64decode(provider))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "provider",
    ["", "rubbish", base64.b64encode(b"\x80\x04\x95").decode(), 7, base64.b64encode(b"ca\0b\nc\n.").decode(),
     base64.b64encode(pickle.dumps(3)).decode(), base64.b64encode(b"c-c\nx\n.").decode()],
)  # fmt: skip
def test_what_is_no_provider_names_no_module(provider: object) -> None:
    assert modules_of([state(provider)]) == []
