"""One site for all the faults of a worker, and the count of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import pytest

from taskdb.local import Server
from tests.conftest import ALL, Database
from tests.faults.campaign import Campaign, Fault, Launcher, Site, fresh_name, write_history

Count = Callable[..., None]


def share(faults: Sequence[Fault], number: int, of: int) -> list[Fault]:
    """Return this share of all faults, in the order in which `make test` draws them."""
    chosen = list(faults) if ALL else random.Random(7).sample(faults, len(faults))
    return chosen[number::of]


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launcher]:
    started = Launcher(tmp_path_factory.mktemp("launcher"))
    yield started
    started.close()


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_history(tmp_path_factory.mktemp("history") / "migrations")


@pytest.fixture(scope="session")
def campaign(server: Server, scripts: Path, launcher: Launcher) -> Campaign:
    """A campaign on the run's server. The database ends with the server."""
    return Campaign(Site.new(Database(server, fresh_name()), scripts), launcher)


@pytest.fixture
def count(record_property: Callable[[str, object], None]) -> Count:
    """Return a function that counts the outcomes of faults, and fails the test if one was not survived.

    `make test` continues until `drawn` faults have happened, because some runs end before the statement of a fault.
    """

    def count(outcomes: Iterable[str | None], drawn: int | None = None) -> None:
        happened = (outcome for outcome in outcomes if outcome is not None)
        found = list(islice(happened, None if ALL else drawn))
        failures = [outcome for outcome in found if outcome]
        record_property("faults tried", len(found))
        record_property("faults survived", len(found) - len(failures))
        assert found, "no fault happened"
        assert not failures, "\n".join(failures)

    return count
