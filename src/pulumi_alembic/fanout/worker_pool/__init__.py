"""Many databases at once: a helper process forks workers, each of which does one database after the other."""
