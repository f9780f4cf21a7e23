"""The ledger of a database: what was done to each revision, with which script, and what a checkout makes of it."""
