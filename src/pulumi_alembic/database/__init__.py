"""The database of a stack: connections, the migration lock, other sessions, retries and PostgreSQL's own programs."""
