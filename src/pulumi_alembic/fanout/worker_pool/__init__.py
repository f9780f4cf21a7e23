"""Work on many databases in parallel: a helper process forks workers, and each works on one database at a time."""
