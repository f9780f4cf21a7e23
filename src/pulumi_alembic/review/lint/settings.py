"""A stack's settings of lint: severities, thresholds of large tables, and facts about the stack. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.review.lint import installed
from pulumi_alembic.review.lint.rules import Scale
from pulumi_alembic.review.plan_review import Severity
from pulumi_alembic.scripts.promotion import Lower

__all__ = ["OFF", "Settings"]

OFF = "off"
_UNITS = {"kB": 1024, "MB": 1024**2, "GB": 1024**3, "TB": 1024**4}
_THRESHOLDS = ("large_rows", "large_size")


@dataclass(frozen=True)
class Settings:
    """Settings of lint.

    Attributes:
        severities: Severities by rule. OFF turns a rule off. Other rules have their default.
        large_rows: From how many rows on a table is large.
        large_size: From how many bytes on a table is large.
        production: Whether the stack is a production stack, on which practices are obligations.
        backup: When the stack takes backups.
        configure_backup: The command that turns backups on.
        lower: The upstream stack. None if there is none, or its promotion record is not known yet.
        phased: Whether the stack sets when contracts run. On production, only a contract can then break running code.

    """

    severities: Mapping[str, str] = field(default_factory=dict)
    large_rows: int = 1_000_000
    large_size: int = 256 * 1024**2
    production: bool = False
    backup: str = "never"
    configure_backup: str = 'Migrations(backup=Backup("destructive", "FOLDER"))'
    lower: Lower | None = None
    phased: bool = False

    @classmethod
    def parse(cls, configured: object, **stack: Any) -> Settings:
        """Read settings such as `{"RULE": "error", "large_rows": "1000000", "large_size": "256MB"}`.

        Args:
            configured: Severities by rule (`error`, `warning`, `info` or `off`), and the two thresholds.
            stack: The other fields.

        Raises:
            PolicyError: A rule or a severity does not exist. The text names the nearest.

        """
        if not isinstance(configured, Mapping):
            raise PolicyError(f"lint must be an object of rules and their severities, not {str(configured)[:80]!r}")
        severities = {str(name): _severity(name, value) for name, value in configured.items() if not _is_limit(name)}
        limits: dict[str, Any] = {
            str(name): _limit(name, value) for name, value in configured.items() if _is_limit(name)
        }
        return cls(severities, **limits, **stack)

    def severity(self, rule: str, situation: int = 0) -> Severity | None:
        """Return the severity of a rule. None if the rule is off.

        A configured severity does not apply to an empty table, where the finding does no harm.

        Args:
            rule: The name.
            situation: The index into the rule's levels: 0 for an empty, 1 for a small, 2 for a large table.

        """
        rule_found = installed.rule(rule)
        configured = self.severities.get(rule)
        if configured == OFF:
            return None
        if rule_found.scale is Scale.STACK:
            situation = int(self.production)
        if rule_found.scale is Scale.PHASED:
            situation = int(self.production and self.phased)
        level = rule_found.levels[min(situation, len(rule_found.levels) - 1)]
        harmless = rule_found.scale is Scale.SIZE and situation == 0
        return Severity(configured) if configured and not harmless else level


def _is_limit(name: object) -> bool:
    return name in _THRESHOLDS


def _severity(name: object, value: object) -> str:
    if not installed.is_rule(name):
        raise PolicyError(f"lint has no rule {str(name)!r}; {installed.nearest(str(name))}")
    # YAML 1.1 reads a bare off as false.
    text = OFF if value is False or value == "false" else str(value)
    if text not in {*Severity, OFF}:
        raise PolicyError(f"lint.{name} must be one of {', '.join([*Severity, OFF])}, not {str(value)!r}")
    return text


def _limit(name: object, value: object) -> int:
    if name == "large_rows":
        if not re.fullmatch(r"[1-9]\d*", str(value)):
            raise PolicyError(f"lint.large_rows must be a whole number of rows from 1, not {str(value)!r}")
        return int(str(value))
    match = re.fullmatch(r"([1-9]\d*)\s*(kB|MB|GB|TB)", str(value))
    if match is None:
        raise PolicyError(f"lint.large_size must be a number with its unit (such as 256MB or 10GB), not {str(value)!r}")
    return int(match[1]) * _UNITS[match[2]]
