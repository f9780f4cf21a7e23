"""The content of the state file, which the Pulumi CLI reads and writes too.

The format is that of Pulumi CLI 3.260: `{"version": 3, "checkpoint": {"stack", "latest": DeploymentV3}}`.
`stack export` prints the same deployment as `{"version": 3, "deployment": …}`. The version is 4 if a resource needs a
feature that older engines would lose. `features` then lists it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from operator import is_
from typing import Any, Final

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.state import PendingOperation, ResourceState, now
from pulumi_embedded.model.values import SECRET_SIGNATURE, SIGNATURE, UNKNOWN, UNKNOWN_SENTINEL, Secret, Value, plain
from pulumi_embedded.storage.integrity import DamagedState, check_references, check_structure
from pulumi_embedded.storage.secrets import Crypter, passphrase_from_environment

__all__ = [
    "ENGINE_VERSION",
    "Codec",
    "Snapshot",
    "checkpoint_document",
    "encoded",
    "exported",
    "manifest",
    "parse_checkpoint",
    "parse_deployment",
]

# The version of the CLI whose formats and behaviour this engine follows.
ENGINE_VERSION: Final = "v3.260.0"
_SCHEMA_VERSION: Final = 3
_FEATURES_VERSION: Final = 4
# The features that this engine has, by the key of a resource that needs them.
_FEATURES: Final = {"replaceWith": "replaceWith", "taint": "taint"}


@dataclass
class Snapshot:
    """The resources of a stack, each after the ones that it depends on."""

    resources: list[ResourceState] = field(default_factory=list)
    pending_operations: list[PendingOperation] = field(default_factory=list)
    secrets_provider: dict[str, Any] | None = None
    time: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


class _Sealer:
    """Encrypts secrets for the file and decrypts them from it, each distinct Secret once."""

    def __init__(self, crypter: Crypter | None) -> None:
        self._crypter = crypter
        self._salt = ""
        self._reader: Crypter | None = None
        self._sealed: dict[int, tuple[Secret, str]] = {}

    def read_with(self, salt: str) -> None:
        """Decrypt from now on with the key of this salt, whatever the stack's configuration contains now."""
        self._salt = salt if salt != (self._crypter and self._crypter.salt_state) else ""
        self._reader = None

    def seal(self, value: Value) -> Value:
        if isinstance(value, Secret):
            return {SIGNATURE: SECRET_SIGNATURE, "ciphertext": self._ciphertext(value)}
        if isinstance(value, list):
            return [self.seal(element) for element in value]
        if isinstance(value, dict):
            return {key: self.seal(value[key]) for key in sorted(value)}
        # An output of a resource that an update left out is still unknown afterwards.
        return UNKNOWN_SENTINEL if value is UNKNOWN else value

    def _ciphertext(self, secret: Secret) -> str:
        ciphertext = self._sealed.get(id(secret))
        if ciphertext is not None:
            return ciphertext[1]
        text = json.dumps(plain(secret.value, show_secrets=True), separators=(",", ":"), ensure_ascii=False)
        sealed = self._required().encrypt(text)
        self._sealed[id(secret)] = (secret, sealed)
        return sealed

    def open(self, value: Value) -> Value:
        if isinstance(value, list):
            return [self.open(element) for element in value]
        if not isinstance(value, dict):
            return UNKNOWN if value == UNKNOWN_SENTINEL else value
        if value.get(SIGNATURE) != SECRET_SIGNATURE:
            return {key: self.open(element) for key, element in value.items()}
        if "plaintext" in value:
            return Secret(self.open(json.loads(value["plaintext"])))
        sealed = value["ciphertext"]
        if self._salt:
            # A checkout can have a Pulumi.STACK.yaml without a salt. The next write encrypts with the stack's own salt.
            self._reader = self._reader or Crypter.open(self._salt, passphrase_from_environment())
            return Secret(self.open(json.loads(self._reader.decrypt(sealed))))
        secret = Secret(self.open(json.loads(self._required().decrypt(sealed))))
        self._sealed[id(secret)] = (secret, sealed)
        return secret

    def _required(self) -> Crypter:
        if self._crypter is None:
            raise EngineError("the state holds secrets and this stack has no encryption salt in its configuration")
        return self._crypter


class _Document(dict[str, Any]):
    """The document of a resource. It must not be changed."""

    @cached_property
    def text(self) -> bytes:
        """The document as JSON."""
        return _dumped(self)


class Codec:
    """Converts snapshots to documents and back, with one stack's crypter."""

    def __init__(self, crypter: Crypter | None) -> None:
        self._crypter = crypter
        self._sealer = _Sealer(crypter)
        # By the resource's identity: the resource, the values of its fields, and the document that they became.
        self._documents: dict[int, tuple[ResourceState, list[Any], _Document]] = {}

    def deployment(self, snapshot: Snapshot) -> dict[str, Any]:
        """Return the DeploymentV3 document of a snapshot, with the current time.

        An operation writes the state after each step. The document of a resource is that of the last call, unless a
        field of the resource was set since. No value in a field is changed in place.
        """
        # A resource that is in no snapshot any more is forgotten.
        known, self._documents = self._documents, {}
        document: dict[str, Any] = {"manifest": manifest()}
        provider = self._secrets_provider() or snapshot.secrets_provider
        if provider:
            document["secrets_providers"] = provider
        if snapshot.resources:
            document["resources"] = [self._document(resource, known) for resource in snapshot.resources]
        if snapshot.pending_operations:
            document["pending_operations"] = [
                {"resource": self._document(operation.resource, known), "type": operation.type}
                for operation in snapshot.pending_operations
            ]
        document["metadata"] = snapshot.metadata
        return document

    def seal(self, value: Value) -> Value:
        """Return a property value in its written form: secrets encrypted, unknown values as a sentinel."""
        return self._sealer.seal(value)

    def open(self, value: Value) -> Value:
        """Return a property value from its written form. Raises EngineError if it cannot be decrypted."""
        return self._sealer.open(value)

    def _secrets_provider(self) -> dict[str, Any] | None:
        if self._crypter is None:
            return None
        return {"type": "passphrase", "state": {"salt": self._crypter.salt_state}}

    def _document(
        self, resource: ResourceState, known: dict[int, tuple[ResourceState, list[Any], _Document]]
    ) -> _Document:
        values = [*vars(resource).values()]
        entry = known.get(id(resource))
        if entry is None or not all(map(is_, entry[1], values)):
            entry = resource, values, _Document(resource.to_json(self._sealer.seal))
        self._documents[id(resource)] = entry
        return entry[2]

    def snapshot(self, document: dict[str, Any] | None) -> Snapshot:
        """Return the snapshot of a DeploymentV3 document. Raises EngineError if no engine can have written it."""
        if not document:
            return Snapshot()
        provider = document.get("secrets_providers")
        if provider and provider.get("type") not in ("", "passphrase"):
            raise EngineError(
                f"the stack's secrets provider is {provider.get('type')!r}; the embedded engine has 'passphrase' only: "
                "use the Pulumi CLI for this stack"
            )
        self._sealer.read_with(((provider or {}).get("state") or {}).get("salt") or "")
        resources = [self._opened(resource) for resource in document.get("resources") or []]
        check_references(resources)
        return Snapshot(
            resources,
            [
                PendingOperation(self._opened(operation["resource"]), operation["type"])
                for operation in document.get("pending_operations") or []
            ],
            provider,
            (document.get("manifest") or {}).get("time", ""),
            document.get("metadata") or {},
        )

    def _opened(self, document: dict[str, Any]) -> ResourceState:
        try:
            return ResourceState.from_json(document, self._sealer.open)
        except EngineError as error:
            raise EngineError(f"{document['urn']}: {error}") from None
        except (KeyError, ValueError, TypeError, AttributeError):
            raise DamagedState(f"a secret of {document['urn']} is none") from None


def manifest() -> dict[str, Any]:
    """Return the engine and the time of a document."""
    magic = hashlib.sha256(ENGINE_VERSION.encode()).hexdigest()
    return {"time": now(), "magic": magic, "version": ENGINE_VERSION}


def checkpoint_document(stack: str, deployment: dict[str, Any]) -> dict[str, Any]:
    """Return the state file's document of a deployment. `stack` is `organization/PROJECT/STACK`."""
    return {**_version(deployment), "checkpoint": {"stack": stack, "latest": deployment}}


def exported(deployment: dict[str, Any] | None) -> dict[str, Any]:
    """Return the document of `stack export` for a deployment."""
    return {**_version(deployment or {}), "deployment": deployment}


def encoded(document: dict[str, Any]) -> bytes:
    """Return the document as JSON. An unchanged resource keeps the text of the last document."""
    return b"".join(_parts(document))


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, _Document):
        yield value.text
    elif isinstance(value, dict):
        yield b"{"
        for number, (key, item) in enumerate(value.items()):
            yield (b"," if number else b"") + _dumped(key) + b":"
            yield from _parts(item)
        yield b"}"
    elif isinstance(value, list):
        yield b"["
        for number, item in enumerate(value):
            yield b"," if number else b""
            yield from _parts(item)
        yield b"]"
    else:
        yield _dumped(value)


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _version(deployment: dict[str, Any]) -> dict[str, Any]:
    resources = deployment.get("resources") or []
    features = sorted(name for name, key in _FEATURES.items() if any(resource.get(key) for resource in resources))
    return {"version": _FEATURES_VERSION, "features": features} if features else {"version": _SCHEMA_VERSION}


def parse_checkpoint(text: str) -> dict[str, Any] | None:
    """Return the deployment in a state file's text. None if the stack was never updated."""
    document = _parse(text)
    _require_version(document)
    checkpoint = document.get("checkpoint")
    if not isinstance(checkpoint, dict):
        raise DamagedState("it holds no checkpoint")
    latest: dict[str, Any] | None = checkpoint.get("latest")
    if latest is not None:
        check_structure(latest)
    return latest


def parse_deployment(text: str) -> dict[str, Any]:
    """Return the deployment in a `stack export` document."""
    document = _parse(text)
    _require_version(document)
    deployment = document.get("deployment")
    if not isinstance(deployment, dict):
        raise EngineError("could not deserialize deployment: it has no field 'deployment'")
    check_structure(deployment)
    return deployment


def _parse(text: str) -> dict[str, Any]:
    if not text.strip():
        raise DamagedState("it is empty")
    try:
        document = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DamagedState(str(error)) from None
    if not isinstance(document, dict):
        raise DamagedState("it is no JSON object")
    return document


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _require_version(document: dict[str, Any]) -> None:
    version = document.get("version")
    features = document.get("features") or []
    if version == _SCHEMA_VERSION or (version == _FEATURES_VERSION and set(features) <= _FEATURES.keys()):
        return
    if not isinstance(version, int):
        raise DamagedState(f"its format version is {version!r}")
    named = f" with {', '.join(map(str, features))}" if isinstance(features, list) and features else ""
    raise EngineError(
        f"the state has the format version {version}{named}; this engine reads {_SCHEMA_VERSION}, and "
        f"{_FEATURES_VERSION} with {', '.join(_FEATURES)}: use the Pulumi CLI that wrote it"
    )
