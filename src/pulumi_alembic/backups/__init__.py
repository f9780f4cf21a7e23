"""Backups of a database, made before an update, listed and restored, each with the revision that it is of."""
