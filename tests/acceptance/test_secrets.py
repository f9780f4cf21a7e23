"""No password is in plain text anywhere, except in the output of the command that asks for it."""

import subprocess
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.acceptance.project import PASSPHRASE, Project
from tests.conftest import ALL

Lived = tuple[Project, set[str]]


def secrets_of(project: Project) -> dict[str, str]:
    """Return every password of the stack, by its source."""
    urls = {name: value for name, value in project.outputs().items() if name.endswith("_url")}
    passwords = {name: str(urlsplit(url).password) for name, url in urls.items()}
    return passwords | {"admin": project.environment["PGPASSWORD"], "passphrase": PASSPHRASE}


EVERY = 0.02 if ALL else 0.2
"""The interval of the checks in seconds. A command takes longer."""


class Watch:
    """Collects the arguments of all processes again and again while the block runs."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._done.wait(EVERY):
            self.seen.update(
                subprocess.run(["ps", "axww", "-o", "args="], capture_output=True, text=True).stdout.splitlines()
            )

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()


@pytest.fixture(scope="module")
def lived(request: pytest.FixtureRequest, make_project: Callable[[str], Project], engine: str) -> Lived:
    """A stack after an update, a failure, a refresh and queries, and the command lines of all processes meanwhile.

    For `make test` it is a deployed stack, after a failure and queries.
    """
    project: Project = make_project(engine) if ALL else request.getfixturevalue("live")
    with Watch() as watch:
        if ALL:
            project.succeed("up", "--yes")
        broken = project.script(4, "op.execute('ALTER TABLE nowhere ADD x int')")
        project.pulumi("up", "--yes", "--diff")
        if ALL:
            project.pulumi("preview", "--json")
            project.remove(broken)
            project.succeed("up", "--yes", "--diff")
            project.succeed("refresh", "--yes", "--diff")
            project.succeed("preview", "--json")
        project.succeed("stack", "output")
        project.run("alembic", "current", PULUMI_STACK=project.stack)
        wrong = project.outputs()["migrator_url"].replace("_migrator:", "_migrator:x")
        project.run("alembic", "current", DATABASE_URL=wrong)
    return project, watch.seen


def test_no_password_is_anywhere_in_plain_text(lived: Lived) -> None:
    project, processes = lived
    passwords = secrets_of(project)
    places = {f"command {number}": outcome.text for number, outcome in enumerate(project.printed)}
    places["ps"] = "\n".join(processes)
    for path in project.folder.rglob("*"):
        if path.is_file() and ".venv" not in path.parts:
            places[str(path.relative_to(project.folder))] = path.read_bytes().decode(errors="replace")
    assert any(place.startswith(".state/.pulumi/stacks") for place in places)
    assert any(place.startswith(".state/.pulumi/history") for place in places)
    leaks = [
        f"{name} in {place}"
        for place, text in places.items()
        for name, password in passwords.items()
        if password in text
    ]
    assert leaks == []


def test_secrets_are_ciphertext_in_the_state(lived: Lived) -> None:
    project, _ = lived
    by_type = {resource["type"]: resource for resource in project.resources()}
    for kind, bag, key in (
        ("pulumi-python:dynamic/taskdb:Password", "outputs", "value"),
        ("pulumi-python:dynamic/alembic:Migrations", "inputs", "url"),
        ("pulumi-python:dynamic/alembic:Migrations", "outputs", "url"),
        ("pulumi:pulumi:Stack", "outputs", "app_url"),
        ("pulumi:providers:postgresql", "inputs", "password"),
    ):
        assert set(by_type[kind][bag][key]) == {"4dabf18193072939515e22adb298388d", "ciphertext"}, (kind, bag, key)
