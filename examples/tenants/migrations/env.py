"""Entered by the `alembic` command and by a stack's update alike."""

import os

import sqlalchemy as sa

from pulumi_alembic import environment

# Autogenerate compares the database with the metadata of your models.
environment.run(target_metadata=sa.MetaData(), url=lambda: os.environ["DATABASE_URL"])
