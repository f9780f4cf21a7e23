"""Displays of an operation: plain lines, a live table, a detailed diff, JSON. Each reads events only."""
