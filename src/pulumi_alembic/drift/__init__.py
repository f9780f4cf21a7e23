"""Drift: what is in a database against what the last update of its stack left there."""
