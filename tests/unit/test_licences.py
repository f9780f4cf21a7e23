"""The installed dependencies have permissive licences, so that users of the project can choose their own licence."""

import re
from importlib.metadata import Distribution, distribution

import pytest

from tests.conftest import PROJECT

WEAK = {"psycopg": "LGPL", "psycopg-binary": "LGPL"}
"""Libraries that programs of any licence can use."""


def required() -> list[str]:
    """Return the names of the packages in the lock file that a user installs."""
    lines = (PROJECT / "requirements.txt").read_text().splitlines()
    return [match[1] for line in lines if (match := re.match(r"([\w.-]+)==", line)) and "win32" not in line]


def licences(found: Distribution) -> str:
    """Return everything that the metadata of a distribution says about its licence."""
    said = [*found.metadata.get_all("License-Expression", []), *found.metadata.get_all("License", [])]
    said += [each for each in found.metadata.get_all("Classifier", []) if each.startswith("License ::")]
    return "; ".join(said)


def copyleft(said: str) -> str:
    """Return the strictest GNU licence that the text names, or an empty text if it names none."""
    text = re.sub(r"Lesser General Public|Library General Public", "LGPL", said)
    for name, pattern in (
        ("AGPL", r"AGPL|Affero"),
        ("GPL", r"\bGPL|GNU General Public|\bGeneral Public License"),
        ("LGPL", "LGPL"),
    ):
        if re.search(pattern, text):
            return name
    return ""


@pytest.mark.parametrize("name", required())
def test_no_library_is_under_a_licence_that_spreads(name: str) -> None:
    said = licences(distribution(name))
    assert said, "its metadata names no licence"
    assert copyleft(said) == WEAK.get(name, "")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("GPL-3.0-or-later", "GPL"),
        ("License :: OSI Approved :: GNU General Public License v3 or later (GPLv3+)", "GPL"),
        ("GNU Affero General Public License v3", "AGPL"),
        ("LGPL-3.0-only", "LGPL"),
        ("License :: OSI Approved :: GNU Lesser General Public License v3 (LGPLv3)", "LGPL"),
        ("MIT", ""),
        ("BSD-2-Clause", ""),
    ],
)
def test_a_licence_is_known_by_its_name(said: str, expected: str) -> None:
    assert copyleft(said) == expected
