"""A plan judged and shown: its review, lint, rehearsal, approval and report."""
