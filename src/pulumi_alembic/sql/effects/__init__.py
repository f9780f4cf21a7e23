"""What a SQL text does to the tables that are there: PostgreSQL's own grammar, and its manual's and source's rules."""

from pulumi_alembic.sql.effects.analysis import after, effects, play

__all__ = ["after", "effects", "play"]
