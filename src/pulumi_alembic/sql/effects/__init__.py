"""Effects of SQL text on existing tables, from PostgreSQL's own grammar and the rules of its manual and source."""

from pulumi_alembic.sql.effects.analysis import after, effects, play

__all__ = ["after", "effects", "play"]
