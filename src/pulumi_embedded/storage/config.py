"""A stack's configuration: Pulumi.STACK.yaml over the defaults of Pulumi.yaml; comments survive every edit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.files import write_atomically
from pulumi_embedded.storage.secrets import Crypter, passphrase_from_environment
from pulumi_embedded.storage.workspace import Project
from pulumi_embedded.values import Properties, Secret

__all__ = ["ConfigFile", "ConfigValue", "package_config"]

_DYNAMIC_PACKAGES = {"pulumi-python", "pulumi-nodejs"}


@dataclass(frozen=True)
class ConfigValue:
    """One configuration value as text (objects as JSON), decrypted; `secret` says whether it may be shown."""

    text: str
    secret: bool
    is_object: bool = False

    def __repr__(self) -> str:
        return f"ConfigValue({'…' if self.secret else self.text!r})"


class ConfigFile:
    """Pulumi.STACK.yaml of one stack; a missing file is an empty configuration."""

    def __init__(self, project: Project, stack: str) -> None:
        self._project = project
        self._stack = stack
        self.path = project.folder / f"Pulumi.{stack}.yaml"
        self._text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        self._saved = self._text
        self._crypter: Crypter | None = None

    def _document(self) -> dict[str, Any]:
        try:
            document = yaml.safe_load(self._text) or {}
        except yaml.YAMLError as error:
            raise EngineError(f"{self.path} cannot be read: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("config") or {}, dict):
            raise EngineError(f"{self.path} is not a stack configuration")
        return document

    def key(self, name: str) -> str:
        """The full key: a name without a namespace belongs to the project."""
        return name if ":" in name else f"{self._project.name}:{name}"

    def crypter(self, *, create: bool = False) -> Crypter | None:
        """The stack's crypter, proven; None where the stack has no secrets provider and none is to be made."""
        if self._crypter is None:
            document = self._document()
            if document.get("secretsprovider", "passphrase") not in ("", "passphrase", "default"):
                raise EngineError(
                    f"the stack's secrets provider is {document['secretsprovider']!r}; the embedded engine has "
                    "'passphrase' only: use the Pulumi CLI for this stack"
                )
            salt = document.get("encryptionsalt")
            if salt:
                self._crypter = Crypter.open(str(salt), passphrase_from_environment())
            elif create:
                self._crypter = Crypter.create(passphrase_from_environment())
                self._splice("encryptionsalt", self._crypter.salt_state)
        return self._crypter

    def values(self) -> dict[str, ConfigValue]:
        """Every value of the stack, by full key, sorted; raises EngineError where a required one is missing."""
        values = self._defaults()
        values |= {key: self._value(value) for key, value in self.as_written().items()}
        return dict(sorted(values.items()))

    def _defaults(self) -> dict[str, ConfigValue]:
        stack_keys = self.as_written().keys()
        values = {}
        for name, declared in (self._project.settings.get("config") or {}).items():
            if isinstance(declared, dict) and not {"default", "value"} & declared.keys():
                if self.key(name) not in stack_keys and "type" in declared:
                    raise EngineError(
                        f"Stack '{self._stack}' is missing configuration value '{name}'; set it:\n"
                        f"  pulumi-embedded config set {name} VALUE -s {self._stack}"
                    )
                continue
            default = declared.get("default", declared.get("value")) if isinstance(declared, dict) else declared
            values[self.key(name)] = self._value(default)
        return values

    def as_written(self) -> dict[str, Any]:
        """The values as they stand in the file, secrets encrypted, by full key."""
        return {self.key(str(name)): value for name, value in (self._document().get("config") or {}).items()}

    def _value(self, value: Any) -> ConfigValue:
        if isinstance(value, dict | list):
            opened, secret = self._open(value)
            text = opened if isinstance(opened, str) else json.dumps(opened, sort_keys=True, separators=(",", ":"))
            return ConfigValue(text, secret, not isinstance(opened, str))
        if isinstance(value, bool):
            return ConfigValue(str(value).lower(), False)
        return ConfigValue("" if value is None else str(value), False)

    def _open(self, value: Any) -> tuple[Any, bool]:
        if isinstance(value, list):
            opened = [self._open(element) for element in value]
            return [each for each, _ in opened], any(secret for _, secret in opened)
        if not isinstance(value, dict):
            return value, False
        if set(value) == {"secure"} and isinstance(value["secure"], str):
            crypter = self.crypter()
            if crypter is None:
                raise EngineError(f"{self.path} holds a secret and no encryptionsalt to read it with")
            return crypter.decrypt(value["secure"]), True
        pairs = {key: self._open(element) for key, element in value.items()}
        return {key: each for key, (each, _) in pairs.items()}, any(secret for _, secret in pairs.values())

    def set(self, name: str, value: str, *, secret: bool) -> None:
        """Writes one value, encrypted where it is secret; the rest of the file stays as it is."""
        if secret:
            crypter = self.crypter(create=True)
            assert crypter is not None  # noqa: S101 - create=True always gives one
            self._splice("config", {self.key(name): {"secure": crypter.encrypt(value)}}, within=True)
        else:
            self._splice("config", {self.key(name): value}, within=True)
        self.save()

    def remove(self, name: str) -> None:
        """Removes one value; a value that is not there is none the more."""
        node = _child(_compose(self._text), "config")
        key = self.key(name)
        if node is None or _entry(node, key) is None:
            return
        lines = self._text.splitlines(keepends=True)
        start, end = _lines(node, key)
        del lines[start:end]
        if len(node.value) == 1:
            del lines[start - 1]
        self._text = "".join(lines)
        self.save()

    def save(self) -> None:
        """Writes the file where anything changed."""
        if self._text != self._saved:
            write_atomically(self.path, self._text.encode())
            self._saved = self._text

    def _splice(self, key: str, value: Any, *, within: bool = False) -> None:
        """Replaces or appends one top-level key, or (within) one key of the mapping under it."""
        root = _compose(self._text)
        node = _child(root, key)
        lines = self._text.splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines[-1] += "\n"
        if not within or node is None:
            start, end = _lines(root, key) if node is not None else (len(lines), len(lines))
            lines[start:end] = [_dump({key: value})]
        else:
            indent = " " * node.start_mark.column
            ((name, _),) = value.items()
            known = _entry(node, name) is not None
            start, end = _lines(node, name) if known else (_last_line(node), _last_line(node))
            lines[start:end] = [indent + line for line in _dump(value).splitlines(keepends=True)]
        self._text = "".join(lines)


def _dump(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=False, allow_unicode=True, width=1_000_000, sort_keys=False)


def _compose(text: str) -> yaml.MappingNode | None:
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    return node if isinstance(node, yaml.MappingNode) else None


def _entry(node: yaml.MappingNode | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    for name, value in node.value if node else []:
        if name.value == key:
            return name, value
    return None


def _child(node: yaml.MappingNode | None, key: str) -> yaml.MappingNode | None:
    entry = _entry(node, key)
    if entry is None:
        return None
    return entry[1] if isinstance(entry[1], yaml.MappingNode) and entry[1].value else None


def _lines(node: yaml.MappingNode | None, key: str) -> tuple[int, int]:
    entry = _entry(node, key)
    assert entry is not None  # noqa: S101 - callers looked before
    return entry[0].start_mark.line, _last_line(entry[1])


def _last_line(node: yaml.Node) -> int:
    """The line after the node's last one; block nodes end where the next token starts, so look inside them."""
    if isinstance(node, yaml.MappingNode) and node.value:
        return _last_line(node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and node.value:
        return _last_line(node.value[-1])
    return int(node.end_mark.line) + (1 if node.end_mark.column else 0)


def package_config(values: Mapping[str, ConfigValue], package: str) -> Properties:
    """What a default provider of the package is configured with; a dynamic provider gets everything (CLI 3.260)."""
    dynamic = package in _DYNAMIC_PACKAGES
    chosen: Properties = {}
    for key, value in values.items():
        namespace, name = key.split(":", 1)
        if dynamic or namespace == package:
            chosen[key if dynamic else name] = Secret(value.text) if value.secret else value.text
    return chosen
