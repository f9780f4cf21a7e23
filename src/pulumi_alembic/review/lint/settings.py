"""How a stack judges findings: severities, what is a large table, and what the stack says of itself. Pure."""

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
    """A finding has the severity in `severities`, else its rule's own; a rule that is OFF there finds nothing.

    A table is large from `large_rows` rows or `large_size` bytes on. On a stack that is `production` practices are not
    advice, and one that is `phased` too runs nothing that breaks running code before a contract does; `backup` is when
    it makes backups, and `configure_backup` what is typed so that it does. `lower` is None if there is no lower
    stack, or it cannot be known yet what that one proves.
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
        """From `{"RULE": "error" | "warning" | "info" | "off", "large_rows": "1000000", "large_size": "256MB"}`.

        Raises PolicyError for a rule or a severity that there is not, naming the nearest.
        """
        if not isinstance(configured, Mapping):
            raise PolicyError(f"lint must be an object of rules and their severities, not {str(configured)[:80]!r}")
        severities = {str(name): _severity(name, value) for name, value in configured.items() if not _is_limit(name)}
        limits: dict[str, Any] = {
            str(name): _limit(name, value) for name, value in configured.items() if _is_limit(name)
        }
        return cls(severities, **limits, **stack)

    def severity(self, rule: str, situation: int = 0) -> Severity | None:
        """That of the rule in this situation, a place in its levels; None where the rule is off.

        What is configured does not make more of a table without rows, where nobody is hurt.
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
