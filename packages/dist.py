"""Build the three packages into dist/, check them, and try each in an environment of its own: `make dist`.

Every environment installs from a local folder of wheels, with the oldest and the newest supported Python on the PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
DIST = PROJECT / "dist"
PACKAGES = {
    "pulumi-alembic": PROJECT / "packages/pulumi-alembic",
    "pulumi-embedded": PROJECT / "packages/pulumi-embedded",
    "taskdb": PROJECT,
}
SMOKE = {
    "pulumi-alembic": (
        ["python", "-c", "from pulumi_alembic import Migrations, batched_update"],
        ["alembic", "init", "migrations"],
        ["pulumi-alembic", "--help"],
    ),
    "pulumi-embedded[postgresql,testing]": (
        ["pulumi-embedded", "stack", "init", "dev"],
        ["pulumi-embedded", "up", "--yes"],
        ["pulumi-embedded", "destroy", "--yes"],
        ["python", "-m", "pytest", "-q", "test_program.py"],
    ),
    "taskdb": (["taskdb", "--help"],),
}
FILES = {
    "Pulumi.yaml": "name: smoke\nruntime: python\n",
    "__main__.py": "import pulumi\n\npulumi.export('answer', 42)\n",
    "test_program.py": (
        "import pulumi\n\n\ndef test_program(engine):\n"
        "    engine.program = lambda: pulumi.export('answer', 42)\n"
        "    assert engine.up().outputs == {'answer': 42}\n"
    ),
}


def main() -> None:
    """Do all of it, and end with the first thing that is wrong."""
    shutil.rmtree(DIST, ignore_errors=True)
    for name, folder in PACKAGES.items():
        run([sys.executable, "-m", "hatchling", "build", "-d", str(DIST)], folder)
        inspect(name)
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, sorted(DIST.iterdir()))], PROJECT)
    for python in interpreters():
        with tempfile.TemporaryDirectory() as wheels:
            requirements = str(PROJECT / "requirements-dev.txt")
            run([python, "-m", "pip", "download", "-qd", wheels, "--require-hashes", "-r", requirements], PROJECT)
            for package in SMOKE:
                smoke(python, package, wheels)
    print(f"Built and tried: {', '.join(sorted(file.name for file in DIST.iterdir()))}")


def inspect(name: str) -> None:
    """Compare what a package's wheel and source archive hold with the files that are committed."""
    stem, root = name.replace("-", "_"), f"src/{name.replace('-', '_')}/"
    committed = subprocess.run(["git", "ls-files", root], cwd=PROJECT, capture_output=True, text=True, check=True)
    expected = {line.removeprefix("src/") for line in committed.stdout.splitlines()}
    (wheel,) = DIST.glob(f"{stem}-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    built = {file for file in names if ".dist-info/" not in file}
    if built != expected:
        sys.exit(f"{wheel.name} does not hold the committed files: {sorted(built ^ expected)}")
    (source,) = DIST.glob(f"{stem}-*.tar.gz")
    with tarfile.open(source) as archive:
        sources = {file.partition("/")[2] for file in archive.getnames()}
    missing = ({f"src/{file}" for file in expected} | {"LICENSE", "NOTICE", "PKG-INFO"}) - sources
    if missing:
        sys.exit(f"{source.name} lacks {sorted(missing)}")
    for paper in ("LICENSE", "NOTICE"):
        if not any(file.endswith(f".dist-info/licenses/{paper}") for file in names):
            sys.exit(f"{wheel.name} lacks {paper}")


def interpreters() -> list[str]:
    """Return the oldest and the newest supported Python on the PATH; at least the one that runs this."""
    found = {}
    for minor in range(11, 15):
        program = shutil.which(f"python3.{minor}")
        ask = [program or "", "-c", "import sys; print(sys.executable)"]
        if program and (answer := subprocess.run(ask, capture_output=True, text=True)).returncode == 0:
            found[minor] = answer.stdout.strip()
    found.setdefault(sys.version_info.minor, sys.executable)
    return list(dict.fromkeys([found[min(found)], found[max(found)]]))


def smoke(python: str, package: str, wheels: str) -> None:
    """Install one package in an empty environment, without an index, and run its commands in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run([python, "-m", "venv", "environment"], home)
        bin_ = home / "environment/bin"
        pip = [str(bin_ / "python"), "-m", "pip"]
        links = ["--no-index", "--find-links", wheels, "--find-links", str(DIST)]
        run([*pip, "install", "-q", "--pre", *links, package], home)
        run([*pip, "check"], home)
        for name, text in FILES.items():
            (home / name).write_text(text)
        environment = {
            "PATH": f"{bin_}:/usr/bin:/bin",
            "HOME": folder,
            "PULUMI_BACKEND_URL": f"file://{folder}",
            "PULUMI_CONFIG_PASSPHRASE": "smoke",
        }
        for command in SMOKE[package]:
            run([str(bin_ / command[0]), *command[1:]], home, environment)
        print(f"{package} installs and runs alone on {Path(python).name}")


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command in a folder, and end with what it printed if it fails."""
    done = subprocess.run(command, cwd=folder, env=environment or dict(os.environ), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed with {done.returncode}:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
