"""Entered by the `alembic` command and by a stack's update alike."""

from pulumi_alembic import environment
from taskdb.models import Base
from taskdb.stack import migration_policy, migrator_url

environment.run(target_metadata=Base.metadata, url=migrator_url, policy=migration_policy)
