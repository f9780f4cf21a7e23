"""Backfills: updates of large tables that a revision declares, and that continue outside any deployment."""
