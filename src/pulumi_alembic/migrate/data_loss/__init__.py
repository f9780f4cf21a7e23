"""Rows that a revision would destroy: counted, refused or preserved, and restored by the next upgrade."""
