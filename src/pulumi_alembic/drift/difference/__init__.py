"""Snapshots of a catalog and their difference. Pure."""
