"""Drift: differences between a database's catalog and what the stack's last update left there."""
