"""The plugin reports which session it waits for, and stops waiting after a time limit."""

from typing import Any

import pytest

from pulumi_embedded.postgresql import connection as connections
from pulumi_embedded.postgresql import membership, waiting
from pulumi_embedded.postgresql.configuration import configuration
from pulumi_embedded.postgresql.connection import Server
from pulumi_embedded.postgresql.errors import ProviderError

HELD = {
    "a role's advisory lock": "SELECT pg_advisory_lock(oid::bigint) FROM pg_roles WHERE rolname = current_user",
    "a database's advisory lock": "SELECT pg_advisory_lock(oid::bigint) FROM pg_database WHERE datname = '{name}'",
    "a table": "BEGIN; LOCK TABLE held",
}


@pytest.mark.parametrize("what", HELD)
def test_a_wait_names_its_holder_and_ends(database: Any, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    said: list[str] = []
    monkeypatch.setattr(waiting, "say", said.append)
    monkeypatch.setattr(waiting, "_AFTER", 0.1)
    monkeypatch.setattr(connections, "DEADLINE", 1.5)
    login = database.parameters
    args = {"host": login["host"], "port": str(login["port"]), "username": login["user"], "sslmode": "disable"}
    server = Server(configuration(args | {"password": login["password"], "database": database.name}))
    with database.connect(application_name="the report") as holder:
        holder.execute("CREATE TABLE held ()")
        holder.execute(HELD[what].format(name=database.name).encode())
        whom = f"pid {holder.info.backend_pid} (user {login['user']}, application the report)"
        with pytest.raises(ProviderError) as caught, server.session() as session, session.transaction() as work:
            match what:
                case "a role's advisory lock":
                    membership.lock_user(work, login["user"])
                case "a database's advisory lock":
                    membership.lock_database(work, database.name)
                case _:
                    work.rows("SELECT count(*) FROM public.held")
        assert str(caught.value).startswith("pq: canceling statement due to lock timeout")
        assert str(caught.value).endswith(f"(55P03): waited 2 s for {whom}")
        assert said == [f"waiting for {whom}"]
        holder.rollback()
