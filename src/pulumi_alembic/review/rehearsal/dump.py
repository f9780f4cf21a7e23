"""Dump the definitions of a target's schema without blocking other sessions, and without waiting for them."""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database.connection import KEPT_SCHEMA
from pulumi_alembic.database.pg_programs import Programs, environment
from pulumi_alembic.database.sessions import those
from pulumi_alembic.errors import NotRehearsed

if TYPE_CHECKING:
    from pulumi_alembic.database.connection import Connection

__all__ = ["dump"]

WAIT = 40
"""Milliseconds that the dump waits for a lock at most."""

LIMIT = 20
"""Seconds after which a dump is ended."""

# It runs in the server, so that this process cannot delay it. Unlike statistics, pg_locks is current at each query.
_GUARD = """
DO $guard$
DECLARE
    dump int;
    whom int[];
    waits timestamptz;
    ended text;
    begun timestamptz := clock_timestamp();
BEGIN
    WHILE dump IS NULL AND clock_timestamp() < begun + interval '{limit} s' LOOP
        PERFORM pg_catalog.pg_sleep(0.003);
        PERFORM pg_catalog.pg_stat_clear_snapshot();
        SELECT pid INTO dump FROM pg_catalog.pg_stat_activity WHERE application_name = '{name}';
    END LOOP;
    LOOP
        SELECT pg_catalog.array_agg(DISTINCT pid) INTO whom FROM pg_locks w
            WHERE NOT granted AND dump = ANY (pg_catalog.pg_blocking_pids(w.pid));
        IF whom IS NOT NULL THEN
            ended := '{others}';
            PERFORM pg_catalog.set_config('rehearsal.whom', whom::text, false);
        ELSIF pg_catalog.cardinality(pg_catalog.pg_blocking_pids(dump)) > 0 THEN
            -- At once: pg_dump can end by itself before this looks again.
            PERFORM pg_catalog.set_config('rehearsal.whom', pg_catalog.pg_blocking_pids(dump)::text, false);
            waits := coalesce(waits, clock_timestamp());
            IF clock_timestamp() > waits + interval '{wait} ms' THEN
                ended := '{lock}';
            END IF;
        ELSE
            waits := NULL;
        END IF;
        IF clock_timestamp() > begun + interval '{limit} s' THEN
            ended := 'the copy of the schema took longer than {limit} s';
        END IF;
        IF ended IS NOT NULL THEN
            PERFORM pg_catalog.set_config('rehearsal.ended', ended, false);
            PERFORM pg_catalog.pg_terminate_backend(dump);
            RETURN;
        END IF;
        PERFORM pg_catalog.pg_sleep(0.002);
        PERFORM pg_catalog.pg_stat_clear_snapshot();
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid = dump) THEN RETURN; END IF;
    END LOOP;
END $guard$
"""

_OTHERS = "somebody waited for the copy of the schema"
_LOCK = "a lock was in the way of the copy of the schema"

_OPTIONS = (
    "--schema-only", "--use-set-session-authorization", "--no-tablespaces", "--no-publications", "--no-subscriptions",
    "--no-security-labels", "--no-password", f"--exclude-schema={KEPT_SCHEMA}",
)  # fmt: skip


def dump(url: str, guard: Connection, role: str, client: Programs, left_out: Sequence[str] = ()) -> str:
    """Return the definitions that pg_dump prints. Each object is created in the role of its owner.

    Args:
        url: The login's URL.
        guard: A session of the same login in the target, in autocommit. It watches the locks, and ends the dump.
        role: The role that reads.
        client: PostgreSQL's programs for the server's version.
        left_out: Patterns of relations that are not dumped.

    Raises:
        NotRehearsed: The dump failed, waited for a lock, or another session waited for it. The text names the sessions.

    """
    name = f"rehearsal-{secrets.token_hex(8)}"
    with ThreadPoolExecutor(1) as aside:
        guarded = aside.submit(_guard, guard, name)
        try:
            done = subprocess.run(
                [
                    client.program("pg_dump"),
                    *_OPTIONS,
                    f"--role={role}",
                    f"--lock-wait-timeout={WAIT}",
                    *(f"--exclude-table={pattern}" for pattern in left_out),
                ],
                env=environment(url, PGAPPNAME=name, PGCLIENTENCODING="UTF8"),
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=2 * LIMIT,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
            raise NotRehearsed(f"pg_dump: {type(error).__name__}") from None
        finally:
            ended = _end(guard, guarded)
    if done.returncode != 0:
        reason = ended or _reason(done.stderr)
        raise NotRehearsed(reason + _named(guard) if reason in (_OTHERS, _LOCK) else reason)
    return done.stdout


def _guard(connection: Connection, name: str) -> str:
    connection.execute(_GUARD.format(name=name, limit=LIMIT, wait=WAIT, others=_OTHERS, lock=_LOCK).encode())
    [(ended,)] = connection.execute("SELECT current_setting('rehearsal.ended', true)").fetchall()
    return ended or ""


def _end(guard: Connection, guarded: Future[str]) -> str:
    """Return why the guard ended the dump. Cancel the guard if the dump never began."""
    try:
        return guarded.result(0.1)
    except TimeoutError:
        guard.cancel()
    except psycopg.Error:
        return ""
    return ""


def _named(guard: Connection) -> str:
    """Return the sessions that the guard saw, after a colon."""
    with suppress(psycopg.Error):
        [(pids,)] = guard.execute("SELECT current_setting('rehearsal.whom', true)::int[]").fetchall()
        return f": {' and '.join(map(str, those(guard, pids)))}" if pids else ""
    return ""


def _reason(printed: str) -> str:
    if "statement timeout" in printed or "lock timeout" in printed:
        return _LOCK
    lines = re.findall(r"(?:error|ERROR|FATAL): +(.+)", printed) or printed.splitlines() or ["it failed"]
    return f"pg_dump: {lines[0]}"
