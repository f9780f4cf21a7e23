"""A migration: the plan, one run of it through Alembic, attempts, and what is said of a failure."""
