"""Each package declares the libraries that its own modules import, and no other."""

import ast
import functools
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest

from tests.conftest import PROJECT

PACKAGES = {
    "pulumi_alembic": PROJECT / "packages/pulumi-alembic/pyproject.toml",
    "pulumi_embedded": PROJECT / "packages/pulumi-embedded/pyproject.toml",
    "taskdb": PROJECT / "pyproject.toml",
}
EXPORTER = "opentelemetry-exporter-otlp-proto-grpc"
NOT_IMPORTED = {
    "pulumi_alembic": {"postgast", "squawk-cli", EXPORTER},
    "pulumi_embedded": {EXPORTER},
    "taskdb": {"pulumi-embedded"},
}
"""Dependencies that are loaded or run without an import of their name."""
OF_THE_PROGRAM = {"taskdb": [PROJECT / "__main__.py"]}


OTHERWISE = {
    "google.protobuf": "protobuf",
    # OpenTelemetry consists of many distributions. This one brings the API.
    "opentelemetry": "opentelemetry-sdk",
    # An editable installation has no list of its files.
    "pulumi_alembic": "pulumi-alembic",
    "pulumi_embedded": "pulumi-embedded",
}

_distributions = functools.cache(packages_distributions)


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


def imported(package: str) -> set[str]:
    """Return the distributions that a package's modules import, by their names in the index."""
    modules = set()
    for path in [*(PROJECT / "src" / package).rglob("*.py"), *OF_THE_PROGRAM.get(package, [])]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(".".join(node.module.split(".")[: 2 if node.module.startswith("google.") else 1]))
    modules -= {package, "__main__", *sys.stdlib_module_names}
    return {_normal(OTHERWISE.get(name) or _distributions()[name][0]) for name in modules}


def declared(project: dict, *extras: str) -> set[str]:
    requirements = [*project["dependencies"]]
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    return {_normal(re.match(r"[\w-]+", text)[0]) for text in requirements}


@pytest.mark.parametrize("package", PACKAGES)
def test_it_declares_what_it_imports_and_no_more(package: str) -> None:
    project = tomllib.loads(PACKAGES[package].read_text())["project"]
    extras = [
        extra
        for extra in project.get("optional-dependencies", {})
        if extra in ("postgresql", "status", "testing", "traces")
    ]
    assert declared(project, *extras) == imported(package) | NOT_IMPORTED.get(package, set())


def test_an_extra_holds_what_its_feature_alone_imports() -> None:
    project = tomllib.loads(PACKAGES["pulumi_embedded"].read_text())["project"]
    users = {
        name: {
            path.relative_to(PROJECT / "src/pulumi_embedded").parts[0]
            for path in (PROJECT / "src/pulumi_embedded").rglob("*.py")
            if re.search(rf"^ *(import|from) {name}\b", path.read_text(), re.MULTILINE)
        }
        for name in ("psycopg", "pytest")
    }
    assert users == {"psycopg": {"postgresql"}, "pytest": {"pytest_plugin.py"}}
    assert declared({"dependencies": [], **{"optional-dependencies": project["optional-dependencies"]}}, "testing") == {
        "pytest"
    }


def test_the_three_packages_agree_on_version_licence_and_python() -> None:
    files = [tomllib.loads(path.read_text()) for path in PACKAGES.values()]
    for key in ("license", "license-files", "requires-python", "authors"):
        assert len({str(file["project"][key]) for file in files}) == 1, key
    assert {str(file["tool"]["hatch"]["version"]) for file in files} == {
        str({"path": "VERSION", "pattern": "(?P<version>.+)"})
    }
    for path in PACKAGES.values():
        assert (path.parent / "VERSION").resolve() == PROJECT / "VERSION"
    pythons = [[name for name in file["project"]["classifiers"] if ":: 3." in name] for file in files]
    assert pythons[0] == pythons[1] == pythons[2]
