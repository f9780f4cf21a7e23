"""Displays of an operation: plain lines, a live table, a detailed diff, JSON; all made from events alone."""
