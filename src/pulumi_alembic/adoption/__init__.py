"""Adoption: accept a database that neither Pulumi nor Alembic has managed as one that a revision has built."""
