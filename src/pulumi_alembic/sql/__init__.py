"""What SQL text does: its effects, its locks, and what of a catalog it meets. Pure."""
