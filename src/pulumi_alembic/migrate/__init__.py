"""Running a plan of revisions: planning, Alembic, attempts and retries, the data loss guard, failure messages."""
