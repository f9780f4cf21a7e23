"""The outcome of an operation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_embedded.model.steps import Op

if TYPE_CHECKING:
    from pulumi_embedded.model.plan import UpdatePlan

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """The outcome of an operation: the numbers of its steps, and whether it failed or was cancelled."""

    changes: dict[Op, int] = field(default_factory=dict)
    failed: bool = False
    cancelled: bool = False
    # The plan of this operation, which another operation can follow.
    plan: UpdatePlan | None = None

    @property
    def has_changes(self) -> bool:
        """Whether any step was something else than `same` or a read."""
        quiet = {Op.SAME, Op.READ, Op.READ_DISCARD, Op.REFRESH}
        return any(count for op, count in self.changes.items() if op not in quiet)
