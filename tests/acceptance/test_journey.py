"""From a developer's database to production and back, on three servers: the way that docs/journey.md tells."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.conftest import ENGINES, Outcome
from tests.acceptance.test_environments import Stacks, authority, clusters, digest, stacks
from tests.conftest import PROJECT

__all__ = ["authority", "clusters", "stacks"]

pytestmark = pytest.mark.xdist_group("environments")

FIXED = "20250126_003"


class Traveller:
    """Who types the commands; `told` has each with what it printed, as docs/journey.md shows them."""

    def __init__(self, stacks: Stacks) -> None:
        self.stacks = stacks
        self.folder = stacks["dev"].folder
        self.told: list[str] = []

    def types(self, stack: str, *command: str, fails: bool = False, **changes: str) -> Outcome:
        """One command for one stack; anything but what is expected fails the test with what was printed."""
        done = self.stacks[stack].run(*command, **changes)
        variables = [f"{name}={value}" for name, value in changes.items() if name.startswith("PULUMI_ALEMBIC")]
        self.told.append(f"$ {' '.join([*variables, *command])}\n{done.text}")
        assert (done.exit_code != 0) is fails and "Traceback" not in done.text, done.text
        return done

    def pulumi(self, stack: str, *arguments: str, fails: bool = False, **changes: str) -> Outcome:
        """One command of the engine."""
        engine = ENGINES[self.stacks[stack].engine]
        return self.types(stack, engine, *arguments, "--stack", stack, fails=fails, **changes)

    def alembic(self, stack: str, *arguments: str, fails: bool = False) -> Outcome:
        """One command of pulumi-alembic, as the stack's migrator."""
        url = self.stacks[stack].outputs()["migrator_url"]
        return self.types(stack, "pulumi-alembic", *arguments, fails=fails, DATABASE_URL=url)

    def approved_up(self, stack: str, **changes: str) -> Outcome:
        """What the deployment does: the digest of the preview is what runs."""
        approve = {"PULUMI_ALEMBIC_APPROVE": digest(self.stacks[stack])} | changes
        return self.pulumi(stack, "up", "--yes", "--skip-preview", **approve)

    def revision(self, stack: str) -> str:
        return str(self.stacks[stack].outputs()["revision"])


def test_a_change_travels_to_production_and_back(stacks: Stacks, tmp_path: Path) -> None:
    traveller = Traveller(stacks)
    try:
        travel(traveller, stacks)
    finally:
        (tmp_path / "journey.txt").write_text("\n".join(traveller.told))
        if any((traveller.folder / ".state/.pulumi/stacks/taskdb").glob("pr-12.json")):
            stacks["staging"].run("taskdb", "pull-request", "down", "12", "--engine", stacks["dev"].engine)


def travel(traveller: Traveller, stacks: Stacks) -> None:
    dev, prod = stacks["dev"], stacks["prod"]
    shutil.copytree(PROJECT / ".ci", traveller.folder / ".ci")
    for stack in ("dev", "staging"):
        traveller.pulumi(stack, "up", "--yes", "--skip-preview")
    # What this journey adds to the schema it does not add to the models.
    prod.succeed("config", "set", "--path", "taskdb:lint.models-differ", "off")
    traveller.approved_up("prod")

    # A new revision, tried on the developer's own database.
    reminders = dev.script(
        1,
        "op.execute('CREATE TABLE app.reminders (task_id bigint PRIMARY KEY, at timestamptz NOT NULL)')",
        "op.execute('DROP TABLE app.reminders')",
    ).name[:12]
    traveller.pulumi("dev", "up", "--yes", "--skip-preview")

    # The pull request: a database of its own, and a report of what merging would do to staging.
    engine = dev.engine
    up = traveller.types("staging", "taskdb", "pull-request", "up", "12", "--engine", engine)
    assert FIXED in up.text and reminders in up.text
    report = traveller.types("staging", ".ci/preview", ENGINES[engine], PULUMI_STACK="staging")
    assert report.stdout.startswith("<!-- pulumi-alembic-report-staging -->") and reminders in report.stdout
    assert traveller.revision("staging") == FIXED
    traveller.types("staging", "taskdb", "pull-request", "down", "12", "--engine", engine)

    # Merged: what staging has run is what production takes, once it is approved.
    refused = traveller.pulumi("prod", "up", "--yes", "--skip-preview", fails=True)
    assert "has not run it" in refused.text and traveller.revision("prod") == FIXED
    traveller.pulumi("staging", "up", "--yes", "--skip-preview")
    unapproved = traveller.pulumi("prod", "up", "--yes", "--skip-preview", fails=True)
    assert "PULUMI_ALEMBIC_APPROVE=" in unapproved.text
    assert "proven by staging" in traveller.approved_up("prod").text
    assert traveller.revision("prod") == reminders
    with psycopg.connect(prod.outputs()["app_url"]) as application:
        application.execute("INSERT INTO app.reminders SELECT n, now() FROM generate_series(1, 12) n")

    # Somebody helps himself on production, and the night tells.
    with psycopg.connect(prod.outputs()["migrator_url"]) as somebody:
        owner = f"taskdb_{prod.stack}_owner"
        somebody.execute(f"SET ROLE {owner}; CREATE INDEX quick ON app.reminders (at)")
    night = traveller.pulumi("prod", "preview", "--refresh", "--expect-no-changes", fails=True)
    assert "DROP INDEX app.quick" in night.text
    script = traveller.alembic("prod", "drift", "--sql").stdout
    with psycopg.connect(prod.outputs()["migrator_url"], autocommit=True) as mending:
        mending.execute(script.encode())
    traveller.pulumi("prod", "preview", "--refresh", "--expect-no-changes")

    # Back, on production alone, and its rows stay.
    traveller.pulumi("prod", "config", "set", "taskdb:revision", FIXED)
    back = traveller.approved_up("prod")
    assert "sets aside 12 rows of app.reminders" in back.text
    assert (traveller.revision("prod"), traveller.revision("staging")) == (FIXED, reminders)
    assert "app.reminders" in traveller.alembic("prod", "kept").stdout
    traveller.pulumi("prod", "config", "set", "taskdb:revision", "head")
    traveller.approved_up("prod")
    with psycopg.connect(prod.outputs()["app_url"]) as application:
        assert application.execute("SELECT count(*) FROM app.reminders").fetchone() == (12,)

    # What cannot wait goes straight to production, with its reason, until staging has caught up.
    index = "op.execute('CREATE INDEX reminders_at ON app.reminders (at)')"
    fix = dev.script(2, index, "op.execute('DROP INDEX app.reminders_at')").name[:12]
    reason = {"PULUMI_ALEMBIC_UNPROVEN": "reminders are late, incident 4711"}
    approve = re.search(
        r"PULUMI_ALEMBIC_APPROVE=(\S+)",
        traveller.pulumi("prod", "up", "--yes", "--skip-preview", fails=True, **reason).text,
    )
    assert approve is not None
    traveller.pulumi("prod", "up", "--yes", "--skip-preview", PULUMI_ALEMBIC_APPROVE=approve[1], **reason)
    assert traveller.revision("prod") == fix
    assert "applied unproven: reminders are late, incident 4711" in traveller.alembic("prod", "history").stdout
    told = f"{fix} ran here before the stack staging proved it"
    assert told in traveller.pulumi("prod", "preview").text
    traveller.pulumi("staging", "up", "--yes", "--skip-preview")
    assert told not in traveller.pulumi("prod", "preview").text

    # The application's password is turned over.
    before = prod.outputs()["app_url"]
    traveller.pulumi("prod", "config", "set", "taskdb:app_login", "b")
    traveller.pulumi("prod", "up", "--yes", "--skip-preview")
    after = prod.outputs()["app_url"]
    for url in (before, after):
        with psycopg.connect(url) as application:
            application.execute("SELECT FROM app.reminders")
    traveller.pulumi("prod", "up", "--yes", "--skip-preview")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(before)
    with psycopg.connect(after) as application:
        application.execute("SELECT FROM app.reminders")
    traveller.pulumi("prod", "preview", "--refresh", "--expect-no-changes")
