"""Flags are read as the Pulumi CLI reads them, at every position."""

from __future__ import annotations

import pytest

from pulumi_embedded.cli.arguments import arranged
from pulumi_embedded.cli.root import cli
from pulumi_embedded.errors import EngineError, Unsupported


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("up -C x --yes", "--cwd=x up --yes"),
        ("stack ls --cwd=x --non-interactive", "--cwd=x --non-interactive stack ls"),
        ("config set k -- -C", "config set -- k -C"),
        ("config get k -s dev", "config --stack=dev get -- k"),
        ("config -s dev get k", "config --stack=dev get -- k"),
        ("stack -s dev output", "stack output --stack=dev"),
        ("down -yfs dev", "destroy --yes --skip-preview --stack=dev"),
        ("up -p2 -m=text", "up --parallel=2 --message=text"),
        ("up -y=true --diff=0", "up --yes"),
        ("up --yes --skip-preview --yes=false", "up --skip-preview"),
        ("preview -r=F --refresh=1", "preview --refresh"),
        ("up -m --yes", "up --message=--yes"),
        ("up -t a -t b", "up --target=a --target=b"),
        ("stack -h", "stack --help"),
        ("help stack ls", "stack ls --help"),
        ("stack new x", "stack init -- x"),
    ],
)
def test_every_form_of_a_flag_is_understood(given: str, read: str) -> None:
    assert arranged(cli, given.split()) == read.split()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("up --nope", "unknown flag: --nope"),
        ("up -yZ", "unknown shorthand flag: 'Z' in -yZ"),
        ("up --stack", "flag needs an argument: --stack"),
        ("up -ys", "flag needs an argument: 's' in -ys"),
        ("up --yes=maybe", 'invalid argument "maybe" for "-y, --yes" flag'),
        ("preview --yes", "unknown flag: --yes"),
        ("nope", 'unknown command "nope" for "pulumi-embedded"'),
        ("stack nope", 'unknown command "nope" for "pulumi-embedded stack"'),
    ],
)
def test_what_neither_engine_has_is_refused_as_the_cli_refuses_it(given: str, message: str) -> None:
    with pytest.raises(EngineError) as raised:
        arranged(cli, given.split())
    assert not isinstance(raised.value, Unsupported)
    assert str(raised.value).startswith(message)
