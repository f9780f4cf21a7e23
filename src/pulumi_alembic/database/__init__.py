"""The database of one stack: connections, the migration lock, sessions, retries and PostgreSQL's own programs."""
