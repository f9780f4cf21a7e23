"""Statements outside a transaction, their repair after an interruption, and updates in batches."""
