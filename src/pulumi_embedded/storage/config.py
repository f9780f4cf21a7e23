"""A stack's configuration: Pulumi.STACK.yaml, with the defaults of Pulumi.yaml. Edits preserve comments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.gojson import compact, number_text
from pulumi_embedded.model.paths import Path as PropertyPath
from pulumi_embedded.model.paths import get_at, parse_path
from pulumi_embedded.model.values import BLINDED, ConfigValue, Properties, Secret
from pulumi_embedded.storage import yaml_text
from pulumi_embedded.storage.config_paths import coerced, is_secure, placed, removed
from pulumi_embedded.storage.config_schema import check_config
from pulumi_embedded.storage.files import write_atomically
from pulumi_embedded.storage.secrets import Crypter, passphrase_from_environment
from pulumi_embedded.storage.workspace import Project

__all__ = ["ConfigFile", "package_config", "scalar_text"]

_DYNAMIC_PACKAGES: Final = {"pulumi-python", "pulumi-nodejs"}


class ConfigFile:
    """Pulumi.STACK.yaml of one stack. A missing file is an empty configuration."""

    def __init__(self, project: Project, stack: str, path: Path | None = None) -> None:
        self._project = project
        self._stack = stack
        self.path = path or project.folder / f"Pulumi.{stack}.yaml"
        self._text = self.path.read_text(encoding="utf-8") if self.path.is_file() else ""
        self._saved = self._text
        self._crypter: Crypter | None = None

    def _document(self) -> dict[str, Any]:
        try:
            document = yaml_text.load(self._text) or {}
        except yaml.YAMLError as error:
            raise EngineError(f"{self.path} cannot be read: {error}") from None
        if not isinstance(document, dict) or not isinstance(document.get("config") or {}, dict):
            raise EngineError(f"{self.path} is not a stack configuration")
        return document

    def key(self, name: str) -> str:
        """Return the full key. A name without a namespace belongs to the project."""
        parts = name.split(":")
        if len(parts) == 1:
            return f"{self._project.name}:{name}"
        if len(parts) == 3 and parts[1] == "config":
            return f"{parts[0]}:{parts[2]}"
        if len(parts) != 2:
            raise EngineError(
                f"invalid configuration key: could not parse {name} as a configuration key "
                "(configuration keys should be of the form `<namespace>:<name>`)"
            )
        return name

    def _place(self, name: str, path: bool) -> tuple[str, PropertyPath]:
        """Return the full key and, if the name is a path, the path inside its value."""
        if not path:
            return self.key(name), ()
        top = name[: min((at for at in map(name.find, "[.") if at > 0), default=len(name))]
        namespace, first = self.key(top).split(":", 1)
        elements = parse_path(first + name[len(top) :])
        if not elements or not isinstance(elements[0], str):
            raise EngineError("invalid config key path: the first segment of a configuration key is a name")
        return f"{namespace}:{elements[0]}", elements[1:]

    def crypter(self, *, create: bool = False) -> Crypter | None:
        """Return the stack's crypter, after checking the passphrase. None if there is none and `create` is not set."""
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
                self._text = yaml_text.with_value(self._text, ["encryptionsalt"], self._crypter.salt_state)
        return self._crypter

    def seal_with(self, passphrase: str) -> Crypter:
        """Encrypt every secret with a new passphrase and a new salt. `save` writes them."""
        new = Crypter.create(passphrase)
        for name, value in (self._document().get("config") or {}).items():
            sealed = self._sealed_for(value, new)
            if sealed != value:
                self._text = yaml_text.with_value(self._text, ["config", str(name)], sealed)
        self._text = yaml_text.with_value(self._text, ["encryptionsalt"], new.salt_state)
        self._crypter = new
        return new

    def copy_to(self, other: ConfigFile, name: str | None, *, path: bool = False) -> None:
        """Write one value, or all, to another stack's file, with the secrets encrypted for that stack."""
        crypter = other.crypter(create=True)
        assert crypter is not None  # noqa: S101 - create=True always gives one
        written = self.as_written()
        for copied in written if name is None else [name]:
            key, inner = self._place(copied, path and name is not None)
            value = written.get(key)
            if inner:
                value = None if is_secure(value) else get_at(value, inner)
            if value is None:
                shown = copied if path else key.removeprefix(f"{self._project.name}:")
                raise EngineError(f"configuration key '{shown}' not found for stack '{self._stack}'")
            other._write(key, inner, self._sealed_for(value, crypter))
        other.save()

    def _sealed_for(self, value: Any, crypter: Crypter) -> Any:
        """Return a value in its written form, with its secrets encrypted by another crypter."""
        if is_secure(value):
            return {"secure": crypter.encrypt(self._open(value, []))}
        if isinstance(value, list):
            return [self._sealed_for(item, crypter) for item in value]
        return (
            {key: self._sealed_for(item, crypter) for key, item in value.items()} if isinstance(value, dict) else value
        )

    def values(self) -> dict[str, ConfigValue]:
        """Return every value of the stack by full key, sorted, with the defaults of Pulumi.yaml."""
        return {key: self.read(value) for key, value in sorted(self.merged().items())}

    def get(self, name: str, *, path: bool = False) -> ConfigValue | None:
        """Return one value, or a part of an object if the name is a path. None if there is none."""
        key, inner = self._place(name, path)
        value = self.merged().get(key)
        if inner:
            value = None if is_secure(value) else get_at(value, inner)
        return None if value is None and (inner or key not in self.merged()) else self.read(value)

    def check(self) -> None:
        """Raise EngineError if a value is missing or has another type than Pulumi.yaml declares."""
        check_config(self._project.name, self._stack, self._declared(), self.values())

    def _declared(self) -> dict[str, Any]:
        return {
            self.key(str(name)): declared for name, declared in (self._project.settings.get("config") or {}).items()
        }

    def merged(self) -> dict[str, Any]:
        """Return every value in its written form, secrets encrypted, with the defaults of Pulumi.yaml."""
        values = {}
        for key, declared in self._declared().items():
            default = declared
            if isinstance(declared, dict):
                default = declared.get("default", declared.get("value"))
            if default is not None:
                values[key] = default
        return values | self.as_written()

    def as_written(self) -> dict[str, Any]:
        """Return the values in the file by full key, secrets encrypted."""
        return {self.key(str(name)): value for name, value in (self._document().get("config") or {}).items()}

    def read(self, value: Any) -> ConfigValue:
        """Return a value from its written form, decrypted."""
        if not isinstance(value, dict | list):
            return ConfigValue(scalar_text(value), False, blinded=scalar_text(value))
        secrets: list[str] = []
        opened = self._open(value, secrets)
        if is_secure(value):
            return ConfigValue(opened, True, secrets=(opened,))
        return ConfigValue(compact(opened), bool(secrets), True, compact(_blinded(value)), tuple(secrets))

    def _open(self, value: Any, secrets: list[str]) -> Any:
        """Return the decrypted value, and add its secrets to `secrets`."""
        if is_secure(value):
            crypter = self.crypter()
            if crypter is None:
                raise EngineError(f"{self.path} holds a secret and no encryptionsalt to read it with")
            secrets.append(crypter.decrypt(value["secure"]))
            return secrets[-1]
        if isinstance(value, list):
            return [self._open(element, secrets) for element in value]
        return {key: self._open(item, secrets) for key, item in value.items()} if isinstance(value, dict) else value

    def set(self, name: str, value: Any, *, secret: bool = False, path: bool = False, save: bool = True) -> None:
        """Write one value. The rest of the file stays the same.

        Args:
            name: The key.
            value: The value.
            secret: Whether to encrypt it.
            path: Whether the name is a path into an object. A text like a boolean or a whole number then becomes one.
            save: Whether to write the file.

        """
        key, inner = self._place(name, path)
        if secret:
            crypter = self.crypter(create=True)
            assert crypter is not None  # noqa: S101 - create=True always gives one
            value = {"secure": crypter.encrypt(value)}
        elif inner and isinstance(value, str):
            value = coerced(value)
        self._write(key, inner, value)
        if save:
            self.save()

    def _write(self, key: str, inner: PropertyPath, value: Any) -> None:
        if inner:
            value = placed(self.as_written().get(key), inner, value, (key.split(":", 1)[1],))
        self._text = yaml_text.with_value(self._text, ["config", self._written_key(key)], value)

    def remove(self, name: str, *, path: bool = False, save: bool = True) -> None:
        """Remove one value, if it exists."""
        key, inner = self._place(name, path)
        values = self.as_written()
        if key not in values:
            return
        place = ["config", self._written_key(key)]
        if inner:
            self._text = yaml_text.with_value(self._text, place, removed(values[key], inner))
        else:
            self._text = yaml_text.without(self._text, place)
        if save:
            self.save()

    def _written_key(self, key: str) -> str:
        """Return the key as the file spells it."""
        names = self._document().get("config") or {}
        return next((str(name) for name in names if self.key(str(name)) == key), key)

    def save(self) -> None:
        """Write the file if anything changed."""
        if self._text != self._saved:
            # The file is part of the project, and usually in git, so it keeps its mode.
            mode = self.path.stat().st_mode & 0o777 if self.path.exists() else 0o600
            write_atomically(self.path, self._text.encode(), mode=mode)
            self._saved = self._text


def _blinded(value: Any) -> Any:
    if is_secure(value):
        return BLINDED
    if isinstance(value, list):
        return [_blinded(element) for element in value]
    return {key: _blinded(element) for key, element in value.items()} if isinstance(value, dict) else value


def scalar_text(value: Any) -> str:
    """Return a number, a boolean or a text in the form that programs receive."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value)
    return "" if value is None else str(value)


def package_config(values: Mapping[str, ConfigValue], package: str) -> Properties:
    """Return the configuration of a package's default provider. A dynamic provider receives all (CLI 3.260)."""
    dynamic = package in _DYNAMIC_PACKAGES
    chosen: Properties = {}
    for key, value in values.items():
        namespace, name = key.split(":", 1)
        if dynamic or namespace == package:
            chosen[key if dynamic else name] = Secret(value.text) if value.secret else value.text
    return chosen
