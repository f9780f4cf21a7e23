"""The chosen pg_dump has the server's version or the next newer one. An older pg_dump is never used."""

from pathlib import Path

import pytest

from pulumi_alembic.database import pg_programs
from pulumi_alembic.errors import BackupError, DatabaseError


def install(folder: Path, version: str, names: tuple[str, ...] = ("pg_dump", "pg_restore")) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version} (Somebody 1.2)'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Install versions 17, 13.4 and 16.2, half of version 15 and a broken program.

    Also return a folder that is absent.
    """
    half = install(tmp_path / "half", "15.1", ("pg_dump",))
    broken = install(tmp_path / "broken", "15.1")
    (broken / "pg_restore").write_text("#!/bin/sh\nexit 1\n")
    versions = [install(tmp_path / version, version) for version in ("17.1", "13.4", "16.2")]
    return [half, broken, tmp_path / "nowhere", *versions]


@pytest.mark.parametrize(("server", "taken"), [(13, "13.4"), (14, "16.2"), (16, "16.2"), (17, "17.1")])
def test_the_same_or_the_next_newer_version_is_taken(folders: list[Path], server: int, taken: str) -> None:
    found = pg_programs.find(server, folders)
    assert found.version == taken and found.program("pg_dump") == found.folder / "pg_dump"


def test_an_older_one_is_refused_and_named(folders: list[Path]) -> None:
    with pytest.raises(BackupError, match=r"PostgreSQL 18, .*found: 17.1 in .*13.4 in .*postgresql-client-18"):
        pg_programs.find(18, folders)
    with pytest.raises(BackupError, match="none was found"):
        pg_programs.find(15, folders[:3])


def test_all_that_a_url_says_reaches_a_program_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGUSER", "somebody else")
    monkeypatch.setenv("PGSSLKEY", "another")
    url = (
        "postgresql+psycopg://me:a%40b@[::1]:5433/some%20db?sslmode=require&application_name=x&hostaddr=127.0.0.1"
        "&options=-c%20geqo%3Doff&passfile=f&sslcrl=c&connect_timeout=3"
    )
    got = pg_programs.environment(url, PGAPPNAME="pulumi-alembic backup")
    assert {name: value for name, value in got.items() if name.startswith("PG")} == {
        "PGAPPNAME": "pulumi-alembic backup",
        "PGCONNECT_TIMEOUT": "3",
        "PGDATABASE": "some db",
        "PGHOST": "::1",
        "PGHOSTADDR": "127.0.0.1",
        "PGOPTIONS": "-c geqo=off -c search_path=pg_catalog,pg_temp",
        "PGPASSFILE": "f",
        "PGPASSWORD": "a@b",
        "PGPORT": "5433",
        "PGSSLCRL": "c",
        "PGSSLMODE": "require",
        "PGUSER": "me",
    }


def test_an_address_that_is_none_is_refused_without_its_password() -> None:
    with pytest.raises(DatabaseError) as caught:
        pg_programs.environment("postgresql://me:hunter2@[nowhere")
    assert "hunter2" not in str(caught.value)
