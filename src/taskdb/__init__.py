"""The database of the task application: its server, roles, grants and models."""
