"""The outputs that a StackReference reads from another stack of the backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import ResourceState
from pulumi_embedded.model.values import Secret
from pulumi_embedded.storage.backend import FileBackend
from pulumi_embedded.storage.checkpoint import Codec, Snapshot
from pulumi_embedded.storage.references import stack_outputs
from pulumi_embedded.storage.secrets import Crypter

OUTPUTS = {"plain": "x", "secret": Secret("s3"), "nested": {"a": [Secret(1)]}}


@pytest.fixture
def backend(tmp_path: Path) -> FileBackend:
    """Create a backend with one stack, `other/dev`, whose passphrase is `one`."""
    made = FileBackend.open(f"file://{tmp_path}", tmp_path)
    root = ResourceState("urn:pulumi:dev::other::pulumi:pulumi:Stack::other-dev", "pulumi:pulumi:Stack", custom=False)
    root.outputs = OUTPUTS
    made.write("other", "dev", Codec(Crypter.create("one")).deployment(Snapshot([root])))
    return made


def test_secrets_are_decrypted_with_the_passphrase(backend: FileBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "one")
    assert stack_outputs(backend, "mine", "organization/other/dev") == (OUTPUTS, True)


def test_with_another_passphrase_secrets_are_empty_and_stay_secret(
    backend: FileBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "two")
    expected = {"plain": "x", "secret": Secret({}), "nested": {"a": [Secret({})]}}
    assert stack_outputs(backend, "mine", "organization/other/dev") == (expected, False)


@pytest.mark.parametrize("reference", ["dev", "organization/dev"])
def test_a_name_without_a_project_is_of_this_one(
    backend: FileBackend, reference: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "one")
    assert stack_outputs(backend, "other", reference)[1]
    with pytest.raises(EngineError, match=f'unknown stack "{reference}"'):
        stack_outputs(backend, "mine", reference)


def test_there_is_one_organization(backend: FileBackend) -> None:
    with pytest.raises(EngineError, match="organization name must be 'organization'"):
        stack_outputs(backend, "mine", "acme/other/dev")


def test_reading_own_outputs_accepts_no_foreign_write(
    backend: FileBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program can read its own stack's outputs while the operation on the stack writes the state."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "one")
    deployment = backend.read("other", "dev") or {}
    FileBackend.open(f"file://{tmp_path}", tmp_path).write("other", "dev", deployment)
    assert stack_outputs(backend, "other", "dev") == (OUTPUTS, True)
    with pytest.raises(EngineError, match="something else has changed the state file"):
        backend.write("other", "dev", deployment)
