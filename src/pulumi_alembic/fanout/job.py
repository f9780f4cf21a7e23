"""What the helper process is told once: everything that is the same for all databases. Holds the login's URL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from pulumi_alembic.fanout.plan.databases import address
from pulumi_alembic.policy import Policy
from pulumi_alembic.review.lint import Settings, lint_settings
from pulumi_alembic.scripts.promotion import is_known
from pulumi_alembic.scripts.trust import Trust

__all__ = ["Job"]

_LINT = ("lint", "__production", "__configure_backup", "__lower")


@dataclass(frozen=True)
class Job:
    """Plain values, as they go through a pipe; nothing of it is ever an argument or in the environment of a process.

    `url` is that of the login, `admin` that of the one that rehearses, empty where none does. `lint` is what
    `lint_settings` reads, `policy` what `Policy.parse` does.
    """

    url: str
    directory: str
    target: str
    command: str
    stack: str = ""
    admin: str = ""
    policy: Mapping[str, str] = field(default_factory=dict)
    lint: Mapping[str, Any] = field(default_factory=dict)
    trusted: Mapping[str, Any] = field(default_factory=dict)
    may_lose: tuple[str, ...] = ()

    @staticmethod
    def lint_of(properties: Mapping[str, Any]) -> dict[str, Any]:
        """What of a resource's properties is about lint, and can go through a pipe."""
        found = {key: properties[key] for key in _LINT if properties.get(key)}
        lower = found.get("__lower")
        if isinstance(lower, Mapping) and not is_known(lower.get("proof")):
            del found["__lower"]
        return found

    @staticmethod
    def trust_of(trust: Trust) -> dict[str, Any]:
        """What `trust` reads again."""
        return asdict(trust)

    def to_json(self) -> str:
        """In one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """The job that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "may_lose": tuple(values["may_lose"])})

    def url_of(self, name: str) -> str:
        """The login's URL of one of the databases."""
        return address(self.url, name)

    @property
    def folder(self) -> Path:
        """Where the scripts are."""
        return Path(self.directory)

    @property
    def trust(self) -> Trust:
        """What vouches for capsules."""
        return Trust(**self.trusted)

    @property
    def settings(self) -> Settings:
        """How lint judges."""
        return lint_settings(self.lint)

    @property
    def waits(self) -> Policy:
        """How long to wait for what."""
        return Policy.parse(self.policy)
