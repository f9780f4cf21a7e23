"""`pulumi-alembic status` shows all stacks of a project, even if one of them has an error."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pulumi_alembic
from pulumi_alembic.errors import DatabaseError
from pulumi_alembic.ledger import contract_policy
from pulumi_alembic.scripts.history import History
from pulumi_alembic.status import reading, text
from pulumi_alembic.status.overview import Guide, Status, survey
from pulumi_alembic.status.page import page
from pulumi_embedded.storage.secrets import Crypter
from tests import formats, loaded
from tests.conftest import Database, ThrowawayCluster, create_database
from tests.postgres.alembic.conftest import Target, prepare
from tests.postgres.alembic.owner import connect
from tests.postgres.alembic.test_backfill import IN_UPDATE, asks

ONE, TWO, THREE, FOUR = (f"20260101_00{number}" for number in range(1, 5))
SECRET = "4dabf18193072939515e22adb298388d"
PASSPHRASES = {"dev": "", "staging": "hush-staging", "prod": "hush-prod", "far": "hush-far"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def crypters() -> dict[str, Crypter]:
    return {stack: Crypter.create(passphrase) for stack, passphrase in PASSPHRASES.items()}


@pytest.fixture
def unused_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class Stacks:
    """The files that an engine writes for a project's stacks."""

    def __init__(self, folder: Path, crypters: dict[str, Crypter]) -> None:
        self.folder, self.crypters = folder, crypters
        (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\nbackend:\n  url: file://./.state\n")

    def configure(self, stack: str, *settings: str) -> None:
        (self.folder / f"Pulumi.{stack}.yaml").write_text("\n  ".join(["config:", *(settings or ["{}"])]) + "\n")

    def update(self, stack: str, seconds_ago: int, *, kind: str = "update", result: str = "succeeded") -> None:
        folder = self.folder / ".state/.pulumi/history/shop" / stack
        folder.mkdir(parents=True, exist_ok=True)
        ended = int(time.time()) - seconds_ago
        entry = {"kind": kind, "result": result, "endTime": ended}
        entry["environment"] = {"git.author": "Ada", "git.head": COMMIT}
        (folder / f"{stack}-{ended * 10**9}.history.json").write_text(json.dumps(entry))

    def state(self, stack: str, url: str, revision: str, **outputs: Any) -> None:
        self.configure(stack)
        crypter = self.crypters[stack]
        sealed = {SECRET: "1b47061264138c4ac30d75fd1eb44270", "ciphertext": crypter.encrypt(json.dumps(url))}
        resource = {
            "urn": f"urn:pulumi:{stack}::shop::pulumi-python:dynamic/alembic:Migrations::schema",
            "type": "pulumi-python:dynamic/alembic:Migrations",
            "inputs": {"directory": "migrations", "url": sealed},
            "outputs": {"directory": "migrations", "url": sealed, "revision": revision, **outputs},
        }
        provider = {"type": "passphrase", "state": {"salt": crypter.salt_state}}
        latest = {"resources": [resource], "secrets_providers": provider}
        folder = self.folder / ".state/.pulumi/stacks/shop"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stack}.json").write_text(json.dumps({"version": 3, "checkpoint": {"latest": latest}}))
        self.update(stack, 3 * 3600)


@pytest.fixture
def target(empty_target: Target) -> Target:
    """A database at the second of three revisions."""
    empty_target.write(ONE, None, "op.execute('CREATE TABLE app.people (id int PRIMARY KEY, name text)')")
    empty_target.write(
        TWO, ONE, "op.execute('CREATE TABLE app.pets (id int PRIMARY KEY, owner int REFERENCES app.people)')"
    )
    empty_target.write(THREE, TWO, "op.execute('CREATE TABLE app.toys ()')")
    empty_target.migrate(TWO)
    return empty_target


@pytest.fixture
def stacks(target: Target, crypters: dict[str, Crypter]) -> Stacks:
    return Stacks(target.directory.parent, crypters)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PULUMI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE_STAGING", "hush-staging")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "hush-prod")


def change(target: Target, statement: str) -> None:
    with connect(target.url) as session:
        session.execute(statement.encode())
        session.commit()


def by_stack(stacks: Stacks, guide: Guide | None = None, **options: Any) -> dict[str, Status]:
    return {status.stack: status for status in survey(stacks.folder, guide or Guide(), **options)}


def problems(status: Status) -> list[tuple[str, str]]:
    return [(problem.text, problem.command) for problem in status.problems]


def test_a_stack_is_shown_with_what_its_database_says(stacks: Stacks, target: Target) -> None:
    stacks.state("dev", target.url, TWO)
    status = by_stack(stacks)["dev"]
    assert (status.revision, status.pending, status.held, status.drift) == (TWO, 1, 0, 0)
    assert status.is_read and status.backup is None and not status.problems
    assert status.server in target.url and "@" not in status.server
    assert status.update and (status.update.person, status.update.commit) == ("Ada", COMMIT)


def test_what_a_pin_holds_back_is_counted_apart_from_what_is_pending(stacks: Stacks, target: Target) -> None:
    stacks.state("dev", target.url, TWO)
    for pinned, pending, held, down in ((TWO, 0, 1, False), (ONE, 1, 2, True), (THREE, 1, 0, False)):
        status = by_stack(stacks, Guide(target=lambda _, id_=pinned: id_))["dev"]
        assert (status.pending, status.held, status.downgrade) == (pending, held, down)


def test_what_waits_is_shown_and_is_no_problem(
    stacks: Stacks, target: Target, make_target: Callable[[Path], Target]
) -> None:
    """The two stacks are at different phases of one commit."""
    target.write(THREE, TWO, asks("'app.people', set='name = id', where='name IS NULL'"))
    script = target.write(FOUR, THREE, "op.execute('ALTER TABLE app.people ALTER name SET NOT NULL')")
    script.write_text(script.read_text().replace("\ndef upgrade", "\nphase = 'contract'\ndef upgrade", 1))
    other = make_target(target.directory)
    other.migrate(THREE)
    change(target, "INSERT INTO app.people SELECT generate_series(1, 1001)")
    target.migrate(THREE, policy=IN_UPDATE)
    for waiting in (target, other):
        with connect(waiting.url) as session:
            contract_policy.write(session, "hold")
            session.commit()
    stacks.state("dev", target.url, THREE)
    stacks.state("prod", other.url, THREE)
    found = by_stack(stacks)
    assert [(status.pending, status.problems) for status in found.values()] == [(0, ())] * 2
    [backfill] = formats.read(
        "status", json.dumps({"version": 1, "stacks": [status.to_json() for status in found.values()]})
    )["stacks"][0]["backfills"]
    assert (backfill["table"], backfill["state"]) == ("app.people", "pending")
    named = f"backfill {backfill['id']} of app.people ({THREE})"
    assert text.lines([*found.values()])[-6:-2] == [
        "",
        f"dev: the contract {FOUR} waits until {named} is verified (pulumi-alembic backfill run)",
        f"dev: {named}: pending, 0 rows set",
        f"prod: the contract {FOUR} waits until pulumi-alembic contract",
    ]
    assert f"the contract {FOUR} waits until pulumi-alembic contract" in page("shop", None, [*found.values()])


def test_each_problem_has_the_command_that_helps(
    stacks: Stacks, target: Target, make_target: Callable[[Path], Target], unused_port: int
) -> None:
    stacks.state("dev", target.url, ONE, drift={"table app.people": ["column age is new"]})
    stacks.state("staging", f"postgresql://one:hush@127.0.0.1:{unused_port}/shop", TWO)
    stacks.configure("lost")
    stacks.update("lost", 60)
    stacks.configure("planned")
    other = make_target(target.directory)
    other.migrate(TWO)
    change(other, "UPDATE migrations.alembic_version SET version_num = '20270101_001'")
    stacks.state("prod", other.url, TWO)
    stacks.state("far", target.url, TWO)
    guide = Guide("/usr/bin/pulumi", start=lambda address: f"start {address}")
    found = by_stack(stacks, guide)
    look = "pulumi preview --refresh --diff --stack"
    assert problems(found["dev"]) == [
        (f"it is at {TWO}, and its last update left {ONE}", f"{look} dev"),
        ("1 object differs from what its last update left", f"{look} dev"),
    ]
    here = f"127.0.0.1:{unused_port}"
    stacks.state("dev", target.url, TWO, __drift={"table app.people": ["column age is new"], "table app.pets": []})
    dev = by_stack(stacks, guide)["dev"]
    assert (dev.drift, problems(dev)) == (2, [("2 objects differ from what its last update left", f"{look} dev")])
    assert problems(found["staging"]) == [
        (f"there is no server at {here}: Connection refused", f"start {here}/shop"),
    ]
    assert (found["staging"].revision, found["staging"].is_read, found["staging"].pending) == (TWO, False, 1)
    assert problems(found["prod"])[0] == (
        "it is at revision 20270101_001, which the scripts here do not have",
        "git log --all --oneline -- '*20270101_001*'",
    )
    assert problems(found["far"]) == [
        (
            "no passphrase in the environment is this stack's: only its state is shown",
            "export PULUMI_CONFIG_PASSPHRASE_FAR_FILE=FILE",
        )
    ]
    assert (found["far"].revision, found["far"].server) == (TWO, "")
    assert problems(found["lost"]) == [
        ("its state is lost, and the backend has no backup of it", "pulumi preview --stack lost")
    ]
    assert not found["planned"].problems and found["planned"].update is None


def test_a_lost_state_is_brought_back_from_its_backup(stacks: Stacks, target: Target) -> None:
    stacks.configure("lost")
    stacks.update("lost", 60)
    backup = stacks.folder / ".state/.pulumi/backups/shop/lost/lost.1.json"
    backup.parent.mkdir(parents=True)
    backup.touch()
    [(text, command)] = problems(by_stack(stacks)["lost"])
    assert text == "its state is lost; the backend has a backup of it"
    assert command == f"pulumi stack import --file {backup} --stack lost"
    stacks.update("lost", 0, kind="destroy")
    assert not by_stack(stacks)["lost"].problems


def test_a_failed_run_is_a_problem_until_one_succeeds(stacks: Stacks, target: Target) -> None:
    target.write(THREE, TWO, "op.execute('SELECT nothing_of_that_name')")
    stacks.state("dev", target.url, TWO)
    with pytest.raises(pulumi_alembic.RevisionFailed):
        target.migrate(THREE)
    assert problems(by_stack(stacks)["dev"]) == [
        (f"the newest run failed: upgrade {THREE}", "pulumi preview --stack dev")
    ]
    target.write(THREE, TWO)
    target.migrate(THREE)
    assert "newest run" not in str(problems(by_stack(stacks)["dev"]))


def test_the_command_prints_a_table_json_and_a_page_and_no_secret(stacks: Stacks, target: Target) -> None:
    stacks.state("dev", target.url, TWO)
    stacks.state("far", target.url, TWO)
    html = stacks.folder / "status.html"

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("pulumi-alembic"), "status", "--directory", "migrations"]
        return loaded.run([*command, *arguments], cwd=stacks.folder)

    table = run("--html", str(html))
    assert table.returncode == 1, table.stderr
    assert table.stdout.splitlines()[0].split("  ")[0] == "stack"
    assert table.stdout.splitlines()[-1] == "2 stacks, 1 with problems, 2 with pending revisions"
    document = formats.read("status", run("--json").stdout)
    assert [(stack["stack"], stack["revision"]) for stack in document["stacks"]] == [("dev", TWO), ("far", TWO)]
    text = html.read_text()
    assert "app.pets" in text and TWO in text
    password = target.url.partition("@")[0].rpartition(":")[2]
    for output in (table.stdout, table.stderr, json.dumps(document), text):
        assert password not in output and "hush-prod" not in output
    assert "http" not in text.replace("http-equiv", ""), "the page loads nothing"


def test_the_page_shows_a_script_that_cannot_be_read(stacks: Stacks, target: Target) -> None:
    stacks.state("dev", target.url, TWO)
    [script] = (target.directory / "versions").glob(f"{THREE}*")
    script.write_text("def upgrade(:\n")
    html = stacks.folder / "status.html"
    command = [Path(sys.executable).with_name("pulumi-alembic"), "status", "--directory", "migrations", "--html", html]
    printed = loaded.run([*map(str, command)], cwd=stacks.folder)
    assert printed.returncode == 1
    assert script.name in printed.stdout and script.name in html.read_text()
    assert "Traceback" not in printed.stderr and "dev" in html.read_text()


@pytest.mark.full
def test_five_stacks_on_three_servers_are_shown_without_a_secret(
    stacks: Stacks,
    target: Target,
    make_target: Callable[[Path], Target],
    make_cluster: Callable[[], ThrowawayCluster],
    unused_port: int,
) -> None:
    other = make_cluster().server
    with Database(other, "postgres").connect() as admin:
        create_database(admin, "staging", "template0")
    staging, prod = prepare(Database(other, "staging"), target.directory), make_target(target.directory)
    staging.migrate(THREE)
    prod.migrate(TWO)
    change(prod, "UPDATE migrations.alembic_version SET version_num = '20270101_001'")
    stacks.state("dev", target.url, TWO)
    stacks.state("staging", staging.url, THREE)
    stacks.state("prod", prod.url, TWO)
    stacks.state("far", f"postgresql://one:hush@127.0.0.1:{unused_port}/shop", ONE)
    stacks.configure("lost")
    stacks.update("lost", 60)
    stacks.configure("dev", f"taskdb:revision: '{TWO}'")
    environment = {**os.environ, "PULUMI_CONFIG_PASSPHRASE_FAR": "hush-far"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("taskdb"), "status", *arguments]
        return loaded.run(command, cwd=stacks.folder, env=environment)

    page_file = stacks.folder / "status.html"
    table, printed = run("--html", str(page_file)), run("--json")
    assert table.returncode == printed.returncode == 1, table.stderr
    found = {stack["stack"]: stack for stack in formats.read("status", printed.stdout)["stacks"]}
    shown = {
        name: (each["server"], each["revision"], each["fromDatabase"], each["pending"], each["held"])
        for name, each in found.items()
    }
    here = target.url.partition("@")[2]
    assert shown == {
        "dev": (here, TWO, True, 0, 1),
        "far": (f"127.0.0.1:{unused_port}/shop", ONE, False, 2, 0),
        "lost": ("", "", False, None, None),
        "prod": (prod.url.partition("@")[2], "20270101_001", True, None, None),
        "staging": (staging.url.partition("@")[2], THREE, True, 0, 0),
    }
    troubles = {name: [problem["text"] for problem in each["problems"]] for name, each in found.items()}
    assert troubles["dev"] == troubles["staging"] == []
    assert troubles["far"] == [f"there is no server at 127.0.0.1:{unused_port}: Connection refused"]
    assert troubles["lost"] == ["its state is lost, and the backend has no backup of it"]
    assert troubles["prod"][0] == "it is at revision 20270101_001, which the scripts here do not have"
    assert table.stdout.splitlines()[-1] == "5 stacks, 3 with problems, 1 with pending revisions"
    text = page_file.read_text()
    passwords = [each.url.partition("@")[0].rpartition(":")[2] for each in (target, staging, prod)]
    passphrases = [each for each in PASSPHRASES.values() if each]
    for output in (table.stdout, table.stderr, printed.stdout, printed.stderr, text):
        assert not [secret for secret in (*passwords, "hush", *passphrases) if secret in output]
    for name in found:
        assert re.search(rf"\b{name}\b", text) and re.search(rf"^{name}\b", table.stdout, re.MULTILINE)


def test_a_hostile_name_stays_text_in_the_page(stacks: Stacks, target: Target) -> None:
    name = '<script>alert(1)</script>"\x1b[2J'
    change(target, f"""ALTER TABLE app.pets RENAME COLUMN owner TO "{name.replace('"', '""')}" """)
    stacks.state("dev", target.url, TWO, drift={name: [name]})
    statuses = survey(stacks.folder, Guide(), with_catalog=True)
    text = page("shop", History.load(target.directory), statuses)
    assert "<script" not in text and "\x1b" not in text
    assert text.count("&lt;script&gt;") >= 3


def test_without_a_project_or_with_a_broken_state_it_is_one_error(stacks: Stacks, target: Target) -> None:
    stacks.state("dev", target.url, TWO)
    path = stacks.folder / ".state/.pulumi/stacks/shop/dev.json"
    for content in ("", "[]", '{"checkpoint": 1}', '{"checkpoint": {"latest": {"resources": [{}]}}}'):
        path.write_text(content)
        with pytest.raises(pulumi_alembic.MigrationError, match="the state of the stack dev is not one"):
            survey(stacks.folder, Guide())
    (stacks.folder / "Pulumi.yaml").write_text("- a list")
    with pytest.raises(pulumi_alembic.MigrationError, match="is not the settings of a Pulumi project"):
        survey(stacks.folder, Guide())
    (stacks.folder / "Pulumi.yaml").unlink()
    with pytest.raises(pulumi_alembic.MigrationError, match=r"there is no Pulumi\.yaml"):
        survey(stacks.folder, Guide())


def test_what_writes_is_refused_while_a_database_is_read(
    stacks: Stacks, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(connection: Any, _: int | None) -> Any:
        connection.execute("DELETE FROM migrations.ledger")

    stacks.state("dev", target.url, TWO)
    monkeypatch.setattr(reading.records, "read", write)
    [(text, _)] = problems(by_stack(stacks)["dev"])
    assert "read-only transaction" in text


def test_a_server_that_accepts_connections_and_never_answers_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DatabaseError, match=f"{address} accepts a connection, and answered no login within 1 s"):
            reading.read(f"postgresql://somebody@{address}/shop", [], most=1, with_catalog=False)
