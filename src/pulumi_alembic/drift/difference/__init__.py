"""Snapshots of a catalog and their differences. Pure functions."""
