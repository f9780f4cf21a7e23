"""The client, its session or its network dies at every statement: the next run ends in the right state.

The tests run a draw of the faults, and `make test-all` runs all of them.
"""

from __future__ import annotations

import os
import signal

import psycopg
import pytest

from tests.faults.campaign import REVISIONS, Campaign, Fault, Strike
from tests.faults.conftest import ALL, Count, share
from tests.faults.striking import Planned, Striker, Way
from tests.postgres.alembic.waiting import until

SHARES = 32 if ALL else 1
DRAWN = 4


def kill(_: Striker, __: Way, client: int) -> bool:
    os.kill(client, signal.SIGKILL)
    return False


def cut(_: Striker, __: Way, ___: int) -> bool:
    return False


def cut_all(striker: Striker, _: Way, __: int) -> bool:
    striker.end_all()
    return False


KINDS: dict[str, tuple[Strike | None, tuple[str, ...]]] = {
    "SIGKILL of the client": (kill, ("before", "during")),
    "pg_terminate_backend": (None, ("before", "during")),
    "the connection is cut": (cut, ("before", "after")),
    "all connections are cut": (cut_all, ("before", "after")),
}


def faults(campaign: Campaign) -> list[Fault]:
    return [
        Fault(scenario, kind, moment, number)
        for scenario in campaign.scenarios
        for kind, (_, moments) in KINDS.items()
        for moment in moments
        for number in range(1, len(campaign.clean(scenario)[0]) + 1)
    ]


def terminate(campaign: Campaign, moment: str) -> Strike:
    def terminate(_: Striker, way: Way, __: int) -> bool:
        with psycopg.connect(campaign.site.target.url, autocommit=True) as login:
            login.execute("SELECT pg_terminate_backend(%s)", [way.pid])
            if moment == "before":
                gone = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)"
                until(lambda: login.execute(gone, [way.pid]).fetchone() == (True,))
        return True

    return terminate


def survives(campaign: Campaign, fault: Fault) -> str | None:
    strike = KINDS[fault.kind][0] or terminate(campaign, fault.moment)
    outcome = campaign.survives(fault, strike)
    if outcome == "" and strike is kill and campaign.first.code != -signal.SIGKILL:
        return f"{fault}: it was not killed: {campaign.first}"
    return outcome


@pytest.mark.parametrize("number", range(SHARES))
def test_the_next_run_converges_after_a_failure_at_any_statement(number: int, campaign: Campaign, count: Count) -> None:
    count((survives(campaign, fault) for fault in share(faults(campaign), number, SHARES)), DRAWN)


def final_heads(statements: list[str]) -> bool:
    """Find the read of the heads after the last revision. Each revision but the first updates the version."""
    updates = sum(each.startswith("UPDATE migrations.alembic_version") for each in statements)
    return statements[-1].startswith("SELECT version_num") and updates == len(REVISIONS) - 1


def begin(statements: list[str]) -> bool:
    """Find the BEGIN of the second revision, which sets a lock_timeout, unlike psycopg's own BEGIN."""
    return statements[-1].startswith("BEGIN; SET LOCAL") and f"'{REVISIONS[0]}'" in " ".join(statements)


@pytest.mark.few("before-begin", "after-final_heads")
@pytest.mark.parametrize("planned", [begin, final_heads])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_cut_where_a_revision_begins_or_all_is_done_fails_no_run(
    planned: Planned, moment: str, campaign: Campaign, count: Count
) -> None:
    """The run itself continues on another connection: with the revision, or with the read of the heads."""
    outcome = campaign.survives(Fault("upgrade", "the connection is cut", moment, planned=planned), cut)
    count([str(campaign.first) if outcome == "" and campaign.first.code else outcome])
