"""A state that the Pulumi CLI wrote is written unchanged, including fields that this engine does not know."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from pulumi_embedded.errors import EngineError, Unsupported
from pulumi_embedded.model.state import PendingOperation, ResourceState
from pulumi_embedded.model.values import UNKNOWN, Secret
from pulumi_embedded.storage.backend import FileBackend
from pulumi_embedded.storage.checkpoint import Codec, Snapshot, encoded, parse_checkpoint, parse_deployment
from pulumi_embedded.storage.files import create_held, keep_backup, write_atomically
from pulumi_embedded.storage.secrets import Crypter

SALT = "v1:rJ+R4Ya1Q+o=:v1:5jqDyyKtleEecS/u:BM5JYept0wdk+wAUiUG7ucRcUyceyA=="
URN = "urn:pulumi:dev::rec::postgresql:index/role:Role::app"
PASSWORD = {
    "4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270",
    "ciphertext": "v1:li7S96x33G2nMave:B9llNQJTDBJhe3JwpVRaZtiGM4Q5",
}
ROLE = {
    "urn": URN,
    "custom": True,
    "id": "s_app",
    "type": "postgresql:index/role:Role",
    "inputs": {"__defaults": [], "name": "s_app", "password": PASSWORD},
    "outputs": {"connectionLimit": -1, "name": "s_app", "password": PASSWORD},
    "parent": "urn:pulumi:dev::rec::pulumi:pulumi:Stack::rec-dev",
    "protect": True,
    "provider": "urn:pulumi:dev::rec::pulumi:providers:postgresql::default::11111111-1111-4111-8111-111111111111",
    "propertyDependencies": {"name": []},
    "additionalSecretOutputs": ["password"],
    "customTimeouts": {"create": 300},
    "created": "2026-01-01T00:00:00.000000001Z",
    "somethingNew": {"kept": True},
}
STACK = {"urn": ROLE["parent"], "custom": False, "type": "pulumi:pulumi:Stack"}
PROVIDER = {
    "urn": "urn:pulumi:dev::rec::pulumi:providers:postgresql::default",
    "custom": True,
    "id": "11111111-1111-4111-8111-111111111111",
    "type": "pulumi:providers:postgresql",
}
DEPLOYMENT: dict[str, Any] = {
    "manifest": {"time": "2026-01-01T00:00:00Z", "magic": "x", "version": "v3.260.0"},
    "secrets_providers": {"type": "passphrase", "state": {"salt": SALT}},
    "resources": [STACK, PROVIDER, ROLE],
    "pending_operations": [{"resource": ROLE, "type": "updating"}],
    "metadata": {"integrity_error": None},
}


@pytest.fixture(scope="module")
def crypter() -> Crypter:
    return Crypter.open(SALT, "")


def test_a_state_comes_out_as_it_went_in_and_its_secrets_keep_their_ciphertext(crypter: Crypter) -> None:
    codec = Codec(crypter)
    written = codec.deployment(codec.snapshot(DEPLOYMENT))
    assert {**written, "manifest": None} == {**DEPLOYMENT, "manifest": None}


def test_what_is_unknown_in_a_secret_comes_back_unknown(crypter: Crypter) -> None:
    secret = Secret({"known": 1, "rest": [UNKNOWN, Secret(UNKNOWN)]})
    opened = Codec(crypter).open(Codec(crypter).seal(secret))
    assert isinstance(opened, Secret)
    assert opened.value == {"known": 1, "rest": [UNKNOWN, UNKNOWN]}


CHANGES: dict[str, Any] = {
    **{field.name: f"another {field.name}" for field in fields(ResourceState) if field.type == "str"},
    **{field.name: field.name != "custom" for field in fields(ResourceState) if field.type == "bool"},
    **{field.name: [f"another é of {field.name}"] for field in fields(ResourceState) if "list" in str(field.type)},
    **{field.name: {"a key": ["another"]} for field in fields(ResourceState) if "dict[" in str(field.type)},
    **{"inputs": {"number": 1.0}, "outputs": {"number": True, "none": None}, "extra": {"anotherKey": 1}},
}


def test_each_change_of_a_resource_is_in_the_next_text_of_the_state(crypter: Crypter) -> None:
    """Documents and texts of unchanged resources are reused from the write before."""
    assert CHANGES.keys() == {field.name for field in fields(ResourceState)}
    codec = Codec(crypter)
    snapshot = codec.snapshot(DEPLOYMENT)
    changed = snapshot.resources[-1].copy()
    snapshot.resources.append(changed)
    snapshot.pending_operations.append(PendingOperation(changed, "updating"))
    before = codec.deployment(snapshot)
    for name, value in CHANGES.items():
        setattr(changed, name, value)
        document = codec.deployment(snapshot)
        assert (
            document["resources"][-1] == document["pending_operations"][-1]["resource"] == changed.to_json(codec.seal)
        )
        plain = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        assert encoded(document) == plain
        assert all(one is other for one, other in zip(document["resources"][:-1], before["resources"], strict=False))


def test_what_becomes_secret_is_not_in_the_next_text_of_the_state(crypter: Crypter) -> None:
    codec = Codec(crypter)
    resource = ResourceState(URN, "a:b:C", custom=True, outputs={"word": "open"})
    snapshot = Snapshot([resource])
    assert b"open" in encoded(codec.deployment(snapshot))
    resource.outputs = {"word": Secret("open")}
    assert b"open" not in encoded(codec.deployment(snapshot))


def test_the_manifest_is_stamped_with_the_version_and_its_digest(crypter: Crypter) -> None:
    manifest = Codec(crypter).deployment(Snapshot())["manifest"]
    assert manifest["version"] == "v3.260.0"
    # The digest that the CLI of this version writes.
    assert manifest["magic"] == "7dff0d166258e7f1d265e8e044021ea087795d58a0c6415ab6fe8b7c790e447f"


def test_a_state_with_secrets_needs_the_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE", raising=False)
    monkeypatch.delenv("PULUMI_CONFIG_PASSPHRASE_FILE", raising=False)
    with pytest.raises(EngineError, match="passphrase must be set"):
        Codec(None).snapshot(DEPLOYMENT)
    with pytest.raises(EngineError, match="no encryption salt"):
        Codec(None).snapshot({**DEPLOYMENT, "secrets_providers": None})
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "wrong")
    with pytest.raises(EngineError, match="incorrect passphrase"):
        Codec(None).snapshot(DEPLOYMENT)


def test_a_state_is_read_by_its_own_salt_and_written_with_the_stacks(
    crypter: Crypter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The configuration of a checkout can have no salt yet, or a newer one."""
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    expected = Codec(crypter).snapshot(DEPLOYMENT).resources[-1].outputs
    assert Codec(None).snapshot(DEPLOYMENT).resources[-1].outputs == expected
    later = Codec(Crypter.create(""))
    written = later.deployment(later.snapshot(DEPLOYMENT))
    assert written["secrets_providers"] != DEPLOYMENT["secrets_providers"]
    assert written["resources"][-1]["outputs"]["password"]["ciphertext"] != PASSWORD["ciphertext"]
    assert later.snapshot(written).resources[-1].outputs == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the state is damaged"),
        ("[]", "no JSON object"),
        ('{"version": 3}', "holds no checkpoint"),
        ('{"version": 4, "features": ["hooks"], "checkpoint": {}}', "format version 4 with hooks"),
    ],
)
def test_what_is_no_state_file_of_this_version_is_refused(text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        parse_checkpoint(text)


def test_another_secrets_provider_is_refused_by_name(crypter: Crypter) -> None:
    with pytest.raises(EngineError, match=r"'cloud'.*use the Pulumi CLI"):
        Codec(crypter).snapshot({"secrets_providers": {"type": "cloud"}})
    with pytest.raises(EngineError, match="no field 'deployment'"):
        parse_deployment('{"version": 3}')


def test_a_write_leaves_the_state_before_it_as_the_backup(tmp_path: Path) -> None:
    backend = FileBackend.open(f"file://{tmp_path}", tmp_path)
    backend.write("p", "dev", {"n": 1})
    backend.write("p", "dev", {"n": 2})
    stacks = tmp_path / ".pulumi/stacks/p"
    assert backend.read("p", "dev") == {"n": 2}
    assert parse_checkpoint((stacks / "dev.json.bak").read_text()) == {"n": 1}
    assert sorted(path.name for path in stacks.iterdir()) == ["dev.json", "dev.json.bak"]
    assert json.loads((stacks / "dev.json").read_text())["checkpoint"]["stack"] == "organization/p/dev"
    assert backend.stacks("p") == ["dev"]


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "dev.json"
    write_atomically(path, b"old")
    keep_backup(path, tmp_path / "dev.json.bak")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(EngineError, match=r"dev\.json cannot be written: No space left on device"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dev.json", "dev.json.bak"]


@pytest.mark.parametrize("url", ["s3://bucket", "https://api.pulumi.com", "azblob://x", "postgres://x/y"])
def test_other_backends_are_refused_by_name(tmp_path: Path, url: str) -> None:
    with pytest.raises(Unsupported, match=rf"the backend {url.split(':')[0]}"):
        FileBackend.open(url, tmp_path)


def test_a_relative_backend_belongs_to_the_project(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    assert FileBackend.open("file://./state", tmp_path).folder == tmp_path / "state"
    with pytest.raises(EngineError, match="does not exist; make it: mkdir -p"):
        FileBackend.open("file://./nowhere", tmp_path)


def test_a_lock_whose_content_cannot_be_made_leaves_no_file(tmp_path: Path) -> None:
    def nobody(_: bool) -> bytes:
        raise KeyError("uid not found")

    with pytest.raises(KeyError):
        create_held(tmp_path / "lock", nobody)
    assert not (tmp_path / "lock").exists()
