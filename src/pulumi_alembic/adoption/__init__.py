"""Adoption: a database that neither Pulumi nor Alembic has seen is taken as what one of the revisions builds."""
