"""Whole commands on a copy of the project, on each engine, on the run's server or the stack's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from taskdb.local import Server
from taskdb.local.binaries import Binaries
from tests.acceptance.project import Project, has_engine, new_project
from tests.acceptance.template import Template
from tests.conftest import NO_CLI, Database


@pytest.fixture(scope="module", params=["embedded", pytest.param("pulumi", marks=pytest.mark.full)])
def engine(request: pytest.FixtureRequest) -> str:
    """Each engine in turn. Its tests are skipped if it is not installed."""
    if not has_engine(request.param):
        pytest.skip(NO_CLI)
    return str(request.param)


@pytest.fixture(scope="module")
def make_project(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Return a function that copies the project with a new, empty stack."""
    return lambda engine: new_project(tmp_path_factory.mktemp("project"), engine, server)


@pytest.fixture
def project(make_project: Callable[[str], Project], engine: str) -> Project:
    """A new, empty stack."""
    return make_project(engine)


@pytest.fixture(scope="module")
def template(run_folder: Path, binaries: Binaries, engine: str) -> Template:
    """The stack that `stack` and `live` copy."""
    return Template.of(run_folder, binaries, engine)


@pytest.fixture
def stack(template: Template) -> Iterator[Project]:
    """A deployed stack for one test, on its own server."""
    with template.copied() as copy:
        yield copy


@pytest.fixture(scope="module")
def live(template: Template) -> Iterator[Project]:
    """A deployed stack that the tests of a module share. Each test leaves it unchanged."""
    with template.copied() as copy:
        yield copy


@pytest.fixture
def admin(server: Server) -> Iterator[Any]:
    """An autocommit connection as the server's admin."""
    with Database(server, "postgres").connect() as connection:
        yield connection
