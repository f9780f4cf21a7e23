"""How an operation ended, as a value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulumi_embedded.model.steps import Op

if TYPE_CHECKING:
    from pulumi_embedded.model.plan import UpdatePlan

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """How the operation ended: the counts of its steps, and whether it did everything that it was to do."""

    changes: dict[Op, int] = field(default_factory=dict)
    failed: bool = False
    cancelled: bool = False
    # What was decided, for another operation to keep to.
    plan: UpdatePlan | None = None

    @property
    def has_changes(self) -> bool:
        """Whether any step was more than `same` or a read."""
        quiet = {Op.SAME, Op.READ, Op.READ_DISCARD, Op.REFRESH}
        return any(count for op, count in self.changes.items() if op not in quiet)
