"""The data loss guard: count rows that a revision would destroy, stop it or preserve them, and restore them later."""
