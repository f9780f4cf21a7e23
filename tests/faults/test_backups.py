"""A process can die at any statement of a backup or a restore: the next run ends in the right state, with every row.

The statements of pg_dump are among them. The tests run a draw of the faults, and `make test-all` runs all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pulumi_alembic.backups import folder
from pulumi_alembic.errors import BackupError
from taskdb.local import Server
from tests.conftest import Database
from tests.faults.campaign import HEAD, REVISIONS, SCENARIOS, UP, Campaign, Launcher, Scenario, Site, fresh_name
from tests.faults.conftest import ALL, Count, share
from tests.faults.test_clients_and_network import faults, survives
from tests.postgres.alembic.backing_up import require_clients

SHARES = 32 if ALL else 1
DRAWN = 1

DAMAGE = """
DELETE FROM app.other; DELETE FROM app.t WHERE id > 50; UPDATE app.t SET n = 7;
CREATE TABLE IF NOT EXISTS app.stray (t int REFERENCES app.t)
"""


class Backups(Campaign):
    """The scenario `backup` is a downgrade with a backup before it.

    The scenario `restore` restores a backup at REVISIONS[3].
    """

    def __init__(self, site: Site, launcher: Launcher, kept: Path) -> None:
        self._kept = kept
        self._made = ""
        back = SCENARIOS["downgrade"]
        run = {**back.run, "backup": str(kept / "backup")}
        super().__init__(site, launcher, {"backup": Scenario(HEAD, run, back.applied)})

    def restoring(self) -> Campaign:
        """Return the campaign `restore`, on a database that has a backup and has changed much since."""
        self.site.empty()
        url, kept = self.site.target.url, self._kept / "restore"
        directory = str(self.site.target.directory)
        for target, more in ((REVISIONS[3], {}), (HEAD, {"backup": str(kept)})):
            made = self.launcher.run(url=url, directory=directory, target=target, may_lose=[], **more)
            assert made.code == 0, made.output
        [backup] = folder.in_folder(kept)
        assert isinstance(backup, folder.Backup)
        self._made = backup.id
        self.scenarios = {"restore": Scenario(None, {"arguments": ["restore", backup.id, "--yes"]}, UP)}
        return self

    def beside(self) -> str:
        """Return the name of an incomplete backup, or the first error of a backup."""
        for kept in self._kept.iterdir():
            if partial := [each.name for each in kept.iterdir() if each.name.startswith(".")]:
                return f"there is {partial[0]}"
            for each in folder.in_folder(kept):
                try:
                    if isinstance(each, BackupError):
                        raise each
                    each.verify(kept)
                except BackupError as error:
                    return str(error)
        return ""

    def _before(self, scenario: Scenario) -> None:
        if not self._made:
            return super()._before(scenario)
        with self.site.as_owner() as owner:
            owner.execute("SET client_min_messages = warning")
            owner.execute(DAMAGE)
        return None


@pytest.fixture(scope="module", params=["backup", "restore"])
def backups(
    request: pytest.FixtureRequest,
    server: Server,
    scripts: Path,
    launcher: Launcher,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Campaign]:
    site = Site.new(Database(server, fresh_name()), scripts)
    require_clients(site.target)
    made = Backups(site, launcher, tmp_path_factory.mktemp("backups"))
    yield made if request.param == "backup" else made.restoring()


@pytest.mark.parametrize("number", range(SHARES))
def test_no_backup_is_damaged_by_a_failure_at_any_statement(number: int, backups: Campaign, count: Count) -> None:
    count((survives(backups, fault) for fault in share(faults(backups), number, SHARES)), DRAWN)


def test_the_copying_of_rows_is_among_what_is_struck(backups: Campaign) -> None:
    """pg_dump copies rows over its own connections.

    The rows of the restore are no statements, but their COPY is one.
    """
    [name] = backups.scenarios
    statements, _ = backups.clean(name)
    copied = [each for each in statements if each.startswith("COPY app.t ")]
    assert [each.split()[-1] for each in copied] == ["stdout;" if name == "backup" else "stdin"]
