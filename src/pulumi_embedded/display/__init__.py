"""Displays of an operation: plain lines, a live table, a detailed diff, JSON; each reads events only."""
