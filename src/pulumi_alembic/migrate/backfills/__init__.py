"""Backfills: updates of a large table that a revision asks for, and that go on outside of any deployment."""
