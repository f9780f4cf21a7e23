"""The complete report as one JSON object."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pulumi_alembic.review.report import facts
from pulumi_alembic.review.report.facts import Verdict
from pulumi_alembic.review.report.preview import Preview

__all__ = ["document"]

VERSION = 1


def document(preview: Preview, verdict: Verdict) -> dict[str, Any]:
    """Return the report as JSON values: the verdict, its counts and all details.

    `plans` contain what `PlanReview.to_json` returns. `version` changes if a key is removed or changes its meaning. New
    keys can appear at any time.
    """
    return {
        "version": VERSION,
        "verdict": {"level": str(verdict.level), "text": verdict.text},
        "counts": verdict.counts,
        "stack": preview.stack,
        "project": preview.project,
        "steps": [{key: value for key, value in asdict(step).items() if key != "drops"} for step in preview.steps],
        "plans": [
            {
                "resource": planned.name,
                "urn": planned.urn,
                "databases": planned.databases,
                "problem": planned.problem,
                "digest": planned.digest,
                "drift": {name: list(lines) for name, lines in planned.drift},
                "plan": planned.review.to_json() if planned.review else None,
            }
            for planned in preview.plans
        ],
        "findings": [
            {
                **asdict(finding.finding),
                "resource": finding.resource,
                "revision": finding.revision,
                "statement": finding.statement,
            }
            for finding in facts.findings(preview)
        ],
        "destroys": [asdict(loss) for loss in facts.losses(preview)],
        "diagnostics": [asdict(diagnostic) for diagnostic in preview.diagnostics],
    }
