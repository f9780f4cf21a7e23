"""The message that starts the helper process: everything that is the same for all databases, with the login's URL."""

from __future__ import annotations

import base64
import pickle
from dataclasses import dataclass, field, replace

from pulumi_alembic.database.tenant import in_schema
from pulumi_alembic.fanout.plan.databases import Kind, address
from pulumi_alembic.migrate.job import Job
from pulumi_alembic.review.lint.settings import Settings

__all__ = ["FanoutJob"]


@dataclass(frozen=True)
class FanoutJob:
    """The parameters of a fan-out. They are passed through a pipe, as arguments and variables of a process are visible.

    Attributes:
        job: The parameters of a run, without a database.
        lint: The severities of lint.
        admin: The URL of the login that rehearses. Empty without rehearsals.
        kind: Whether a run is about a database of the server, or about a schema of the job's database.
        shared: The schemas that scripts find names in after the tenant's.

    """

    job: Job
    lint: Settings = field(default_factory=Settings)
    admin: str = ""
    kind: Kind = Kind.DATABASE
    shared: tuple[str, ...] = ()

    def to_line(self) -> bytes:
        """Return the job as a line, which `from_line` reads."""
        return base64.b64encode(pickle.dumps(self))

    @staticmethod
    def from_line(line: bytes) -> FanoutJob:
        """Read the job that the process wrote that started this one."""
        job: FanoutJob = pickle.loads(base64.b64decode(line))  # noqa: S301 - over a pipe that only that process has
        return job

    def of(self, name: str) -> Job:
        """Return the parameters of a run in one of the databases or schemas."""
        if self.kind is Kind.DATABASE:
            return replace(self.job, url=address(self.job.url, name))
        return replace(self.job, url=in_schema(self.job.url, name, self.shared))
