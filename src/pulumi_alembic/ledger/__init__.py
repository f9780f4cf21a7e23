"""The ledger: the append-only table of what was done to each revision, with the script that ran."""
