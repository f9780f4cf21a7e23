"""Statements that repair drift. Pure functions."""
