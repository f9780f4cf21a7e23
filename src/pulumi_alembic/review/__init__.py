"""The review of a plan: lint, rehearsal, gates and reports."""
