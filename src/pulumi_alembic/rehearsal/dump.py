"""The definition of a target's schema as SQL, read so that nobody waits for it, and that it waits for nobody."""

from __future__ import annotations

import re
import secrets
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg

from pulumi_alembic.database import KEPT_SCHEMA
from pulumi_alembic.rehearsal.client import Client, environment
from pulumi_alembic.rehearsal.refusal import NotRehearsed

if TYPE_CHECKING:
    from pulumi_alembic.database import Connection

__all__ = ["dump"]

WAIT = 40
"""Milliseconds that the dump may wait for a lock."""

LIMIT = 20
"""Seconds after which a dump is ended."""

# In the server, so that no other work of this process delays it. pg_locks is no statistic: each look is a new one.
_GUARD = """
DO $guard$
DECLARE
    dump int;
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
        IF EXISTS (SELECT FROM pg_locks w WHERE NOT granted AND dump = ANY (pg_catalog.pg_blocking_pids(w.pid)))
        THEN
            ended := 'somebody waited for the copy of the schema';
        ELSIF pg_catalog.cardinality(pg_catalog.pg_blocking_pids(dump)) > 0 THEN
            waits := coalesce(waits, clock_timestamp());
            IF clock_timestamp() > waits + interval '{wait} ms' THEN
                ended := 'a lock was in the way of the copy of the schema';
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

_OPTIONS = (
    "--schema-only", "--use-set-session-authorization", "--no-tablespaces", "--no-publications", "--no-subscriptions",
    "--no-security-labels", "--no-password", f"--exclude-schema={KEPT_SCHEMA}",
)  # fmt: skip


def dump(url: str, guard: Connection, role: str, client: Client) -> str:
    """The text that pg_dump prints for the target, read as `role`; each object is made in the role of its owner.

    `guard` is a session of the same login there, in autocommit, that looks on.

    Raises NotRehearsed where it would wait for a lock, or somebody for one of its own, or where it fails.
    """
    name = f"rehearsal-{secrets.token_hex(8)}"
    with ThreadPoolExecutor(1) as aside:
        guarded = aside.submit(_guard, guard, name)
        try:
            done = subprocess.run(
                [client.pg_dump, *_OPTIONS, f"--role={role}", f"--lock-wait-timeout={WAIT}"],
                env=environment(url) | {"PGAPPNAME": name},
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
        raise NotRehearsed(ended or _reason(done.stderr))
    return done.stdout


def _guard(connection: Connection, name: str) -> str:
    connection.execute(_GUARD.format(name=name, limit=LIMIT, wait=WAIT).encode())
    [(ended,)] = connection.execute("SELECT current_setting('rehearsal.ended', true)").fetchall()
    return ended or ""


def _end(guard: Connection, guarded: Future[str]) -> str:
    """What the guard did; it ends by itself unless the dump never came."""
    try:
        return guarded.result(0.1)
    except TimeoutError:
        guard.cancel()
    except psycopg.Error:
        return ""
    return ""


def _reason(printed: str) -> str:
    if "statement timeout" in printed or "lock timeout" in printed:
        return "a lock was in the way of the copy of the schema"
    lines = re.findall(r"(?:error|ERROR|FATAL): +(.+)", printed) or printed.splitlines() or ["it failed"]
    return f"pg_dump: {lines[0]}"
