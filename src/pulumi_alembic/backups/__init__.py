"""Backups of a database: taken before an update, listed, verified and restored, each with its revision."""
