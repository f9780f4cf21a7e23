"""What the helper process is told once: everything that is the same for all databases. Holds the login's URL."""

from __future__ import annotations

import base64
import pickle
from dataclasses import dataclass, field, replace

from pulumi_alembic.fanout.plan.databases import address
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.lint.settings import Settings

__all__ = ["FanoutJob"]


@dataclass(frozen=True)
class FanoutJob:
    """Nothing of it is ever an argument or in the environment of a process.

    `job` names no database. `lint` judges; `admin` is the URL of the login that rehearses, empty where none does.
    """

    job: Job
    lint: Settings = field(default_factory=Settings)
    admin: str = ""

    def to_line(self) -> bytes:
        """As `from_line` reads it."""
        return base64.b64encode(pickle.dumps(self))

    @staticmethod
    def from_line(line: bytes) -> FanoutJob:
        """The job that `to_line` wrote, in the process that started this one."""
        job: FanoutJob = pickle.loads(base64.b64decode(line))  # noqa: S301 - over a pipe that only that process has
        return job

    def of(self, name: str) -> Job:
        """The job of one of the databases."""
        return replace(self.job, url=address(self.job.url, name))
