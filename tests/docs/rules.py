"""Examples of each lint rule: a statement that it finds, and what to write instead.

`tests/docs/test_reference.py` lints them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """Lines of `upgrade()`. The rule finds `bad` and accepts `good`. `words` explain what lines cannot show."""

    bad: str = ""
    good: str = ""
    words: str = ""


def _sql(bad: str, *good: str) -> Example:
    return Example(_execute(bad), "\n".join(_execute(each) for each in good))


def _block(bad: str, good: str) -> Example:
    return Example(_execute(bad), f"with op.get_context().autocommit_block():\n    {_execute(good)}")


def _execute(statement: str) -> str:
    return f'op.execute("{statement}")'


_NEXT = "# in the next revision:\n"

EXAMPLES: Mapping[str, Example] = {
    "require-concurrent-index-creation": _block(
        "CREATE INDEX tasks_due ON tasks (due_date)", "CREATE INDEX CONCURRENTLY tasks_due ON tasks (due_date)"
    ),
    "require-concurrent-index-deletion": _block("DROP INDEX tasks_due", "DROP INDEX CONCURRENTLY tasks_due"),
    "require-concurrent-reindex": _block("REINDEX TABLE tasks", "REINDEX TABLE CONCURRENTLY tasks"),
    "require-concurrent-partition-detach": _block(
        "ALTER TABLE events DETACH PARTITION events_2020",
        "ALTER TABLE events DETACH PARTITION events_2020 CONCURRENTLY",
    ),
    "adding-foreign-key-constraint": Example(
        _execute("ALTER TABLE tasks ADD CONSTRAINT tasks_owner FOREIGN KEY (owner_id) REFERENCES users (id)"),
        _execute("ALTER TABLE tasks ADD CONSTRAINT tasks_owner FOREIGN KEY (owner_id) REFERENCES users (id) NOT VALID")
        + f"\n{_NEXT}"
        + _execute("ALTER TABLE tasks VALIDATE CONSTRAINT tasks_owner"),
    ),
    "constraint-missing-not-valid": Example(
        _execute("ALTER TABLE tasks ADD CONSTRAINT tasks_rank CHECK (rank > 0)"),
        _execute("ALTER TABLE tasks ADD CONSTRAINT tasks_rank CHECK (rank > 0) NOT VALID")
        + f"\n{_NEXT}"
        + _execute("ALTER TABLE tasks VALIDATE CONSTRAINT tasks_rank"),
    ),
    "disallowed-unique-constraint": Example(
        _execute("ALTER TABLE users ADD CONSTRAINT users_email UNIQUE (email)"),
        "with op.get_context().autocommit_block():\n"
        '    op.execute("CREATE UNIQUE INDEX CONCURRENTLY users_email ON users (email)")\n'
        f"{_NEXT}" + _execute("ALTER TABLE users ADD CONSTRAINT users_email UNIQUE USING INDEX users_email"),
    ),
    "adding-not-nullable-field": Example(
        _execute("ALTER TABLE tasks ALTER COLUMN title SET NOT NULL"),
        _execute("ALTER TABLE tasks ADD CONSTRAINT tasks_title CHECK (title IS NOT NULL) NOT VALID")
        + f"\n{_NEXT}"
        + _execute("ALTER TABLE tasks VALIDATE CONSTRAINT tasks_title")
        + "\n# in a third revision, without a scan:\n"
        + _execute("ALTER TABLE tasks ALTER COLUMN title SET NOT NULL"),
    ),
    "adding-required-field": _sql(
        "ALTER TABLE tasks ADD COLUMN rank integer NOT NULL",
        "ALTER TABLE tasks ADD COLUMN rank integer NOT NULL DEFAULT 0",
    ),
    "adding-field-with-default": _sql(
        "ALTER TABLE tasks ADD COLUMN token uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE tasks ADD COLUMN token uuid",
        "ALTER TABLE tasks ALTER COLUMN token SET DEFAULT gen_random_uuid()",
    ),
    "adding-serial-field": _sql(
        "ALTER TABLE tasks ADD COLUMN number bigserial",
        "CREATE SEQUENCE tasks_number OWNED BY NONE",
        "ALTER TABLE tasks ADD COLUMN number bigint",
        "ALTER TABLE tasks ALTER COLUMN number SET DEFAULT nextval('tasks_number')",
    ),
    "adding-identity": _sql(
        "ALTER TABLE tasks ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY",
        "CREATE SEQUENCE tasks_number OWNED BY NONE",
        "ALTER TABLE tasks ADD COLUMN number bigint",
        "ALTER TABLE tasks ALTER COLUMN number SET DEFAULT nextval('tasks_number')",
    ),
    "changing-column-type": _sql(
        "ALTER TABLE tasks ALTER COLUMN rank TYPE bigint",
        "ALTER TABLE tasks ADD COLUMN rank_as_bigint bigint",
    ),
    "inline-foreign-key": _sql(
        "CREATE TABLE notes (id bigint PRIMARY KEY, task_id bigint REFERENCES tasks (id))",
        "CREATE TABLE notes (id bigint PRIMARY KEY, task_id bigint)",
    ),
    "unbatched-update": Example(
        _execute("UPDATE tasks SET rank = 0"),
        'batched_update("tasks", "rank = 0", where="rank IS NULL")',
        "`batched_update` is imported by `from pulumi_alembic import batched_update`.",
    ),
    "endless-backfill": Example(
        'backfill("scores", set="rank = 0", where="earned_on IS NULL")',
        'backfill("scores", set="rank = 0", where="rank IS NULL")',
        "`backfill` is imported by `from pulumi_alembic import backfill`. A table with a trigger is not judged.",
    ),
    "unbatched-delete": _sql("DELETE FROM events", "DELETE FROM events WHERE at < '2020-01-01'"),
    "truncate": Example(
        _execute("TRUNCATE events"), words="No statement empties a table without its lock. Wait until nobody uses it."
    ),
    "vacuum-full": Example(
        "with op.get_context().autocommit_block():\n    " + _execute("VACUUM FULL tasks"),
        "with op.get_context().autocommit_block():\n    " + _execute("VACUUM tasks"),
    ),
    "cluster": Example(
        _execute("CLUSTER tasks USING tasks_due"), words="No statement orders a table's rows without its lock."
    ),
    "lock-table": Example(
        _execute("LOCK TABLE tasks"), words="Each statement takes the lock that it needs: leave the statement out."
    ),
    "table-rewrite": _sql(
        "ALTER TABLE tasks SET TABLESPACE fast", "ALTER TABLE tasks SET (autovacuum_vacuum_scale_factor = 0.01)"
    ),
    "blocking-scan": _sql(
        "ALTER TABLE events ATTACH PARTITION events_2021 FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')",
        "ALTER TABLE events ALTER COLUMN at SET STATISTICS 500",
    ),
    "destroys-data": Example(
        _execute("ALTER TABLE tasks DROP COLUMN rank"),
        words="An upgrade that drops rows needs `taskdb:allow_data_loss`, and a backup. A downgrade and a contract preserve the rows.",
    ),
    "index-if-not-exists": Example(
        _execute("CREATE INDEX IF NOT EXISTS tasks_due ON tasks (due_date)"),
        "with op.get_context().autocommit_block():\n    "
        + _execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_due ON tasks (due_date)"),
        "In a block, the runner drops an invalid index before it builds the index again.",
    ),
    "prefer-jsonb": _sql("ALTER TABLE tasks ADD COLUMN data json", "ALTER TABLE tasks ADD COLUMN data jsonb"),
    "grant-to-public": _sql("GRANT SELECT ON tasks TO PUBLIC", "GRANT SELECT ON tasks TO reporting"),
    "syntax-error": _sql("ALTER TABLE tasks ADD COLUM rank integer", "ALTER TABLE tasks ADD COLUMN rank integer"),
    "security-definer-search-path": _sql(
        "CREATE PROCEDURE p() LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "CREATE PROCEDURE p() LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT 1'",
    ),
    "ban-char-field": _sql("ALTER TABLE tasks ADD COLUMN code char(3)", "ALTER TABLE tasks ADD COLUMN code text"),
    "prefer-timestamp-tz": _sql(
        "ALTER TABLE tasks ADD COLUMN done_at timestamp", "ALTER TABLE tasks ADD COLUMN done_at timestamptz"
    ),
    "prefer-identity": _sql(
        "CREATE TABLE notes (id bigserial PRIMARY KEY)",
        "CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
    ),
    "renaming-column": _sql("ALTER TABLE tasks RENAME COLUMN title TO name", "ALTER TABLE tasks ADD COLUMN name text"),
    "renaming-table": Example(
        _execute("ALTER TABLE tasks RENAME TO jobs"),
        _execute("CREATE VIEW jobs AS SELECT * FROM tasks"),
        "Clients of the old name work until the table is renamed, after all of them use the view.",
    ),
    "ban-drop-database": Example(_execute("DROP DATABASE other"), words="Drop it by the stack that created it."),
    "ban-truncate-cascade": _sql("TRUNCATE users CASCADE", "TRUNCATE users, tasks"),
    "ban-create-domain-with-constraint": _sql(
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        "CREATE TABLE notes (id bigint PRIMARY KEY, rank integer CHECK (rank > 0))",
    ),
    "ban-alter-domain-with-add-constraint": _sql(
        "ALTER DOMAIN positive ADD CONSTRAINT small CHECK (VALUE < 100)",
        "ALTER TABLE notes ADD CONSTRAINT small CHECK (rank < 100) NOT VALID",
    ),
    "identifier-too-long": _sql(
        f"ALTER TABLE tasks ADD COLUMN {'very_' * 13}long text", "ALTER TABLE tasks ADD COLUMN very_long text"
    ),
    "require-enum-value-ordering": Example(
        "with op.get_context().autocommit_block():\n    " + _execute("ALTER TYPE state ADD VALUE 'late'"),
        "with op.get_context().autocommit_block():\n    " + _execute("ALTER TYPE state ADD VALUE 'late' AFTER 'open'"),
    ),
    "irreversible-downgrade": Example(
        words="`downgrade()` does nothing or raises, although `upgrade()` does something. Write the statements that restore "
        "the schema. If nothing can, say so: `# lint: allow irreversible-downgrade: REASON`."
    ),
    "undocumented-revision": Example(
        words="The revision changes rows, runs Python or has more than ten statements, and its docstring is one line. Add "
        "a paragraph to the docstring that says why."
    ),
    "unreviewed-revision": Example(
        words="`alembic revision --autogenerate` wrote the script, and the line `Reviewed by:` has no name. Read the "
        "script, and add your name."
    ),
    "models-differ": Example(
        words="After the newest revision, the tables are not those of the application's models. Add a revision, or change "
        "the models. `alembic check` lists the differences."
    ),
    "breaks-running-code": Example(
        _execute("ALTER TABLE tasks DROP COLUMN title"),
        _execute("ALTER TABLE tasks ADD COLUMN name text"),
        'Code of the previous version uses all that its schema allows. `phase = "contract"` in the script says that no '
        "such code runs any longer.",
    ),
    "needless-contract": Example(
        words='The script has `phase = "contract"`, and no statement of it breaks code of the previous version. Remove '
        "the line, so that no stack holds the revision."
    ),
    "expand-behind-contract": Example(
        words="The script has no phase, and builds on a contract. A stack that holds the contract rejects the revision. Let "
        "the contract build on this revision instead."
    ),
    "unproven-revision": Example(
        words="The stack of `taskdb:promote_from` has not run the revision. Run it there first, or give a reason for one "
        "update: `PULUMI_ALEMBIC_UNPROVEN`."
    ),
    "production-without-backup": Example(
        words="The stack is a production stack, and `taskdb:backup` is `never`. Set `taskdb:backup` and "
        "`taskdb:backup_folder`."
    ),
    "other-tools": Example(
        words="The ledger's script was applied by other versions of Alembic, SQLAlchemy or Python than those here. Use the "
        "versions that the message names, or read the script's downgrade."
    ),
    "runs-python": Example(
        'connection = op.get_bind()\nconnection.execute(sa.text("SELECT 1")).scalar()',
        _execute("SELECT 1"),
        "The script asks the database, so its SQL is known only when it runs.",
    ),
    "broken-rule": Example(
        words="A rule of another distribution raised an error, or cannot be loaded. The message names both."
    ),
    "bad-excuse": Example(
        "# lint: allow truncate\n" + _execute("TRUNCATE events"),
        "# lint: allow truncate: it is a cache\n" + _execute("TRUNCATE events"),
    ),
    "unused-excuse": Example(
        "# lint: allow truncate: it is a cache\n" + _execute("ALTER TABLE tasks ADD COLUMN data jsonb"),
        _execute("ALTER TABLE tasks ADD COLUMN data jsonb"),
    ),
}
