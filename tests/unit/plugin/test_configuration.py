"""The provider's configuration: where each value comes from, and which values are refused."""

from __future__ import annotations

import pytest

from pulumi_embedded.model.values import UNKNOWN
from pulumi_embedded.postgresql.configuration import configuration
from pulumi_embedded.postgresql.errors import ProviderError

VARIABLES = ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSUPERUSER", "PGSSLMODE", "PGCONNECT_TIMEOUT")


@pytest.fixture(autouse=True)
def without_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_anything_it_is_the_real_plugin_s_default() -> None:
    found = configuration({})
    assert (found.host, found.port, found.database, found.username) == ("", 5432, "postgres", "postgres")
    assert (found.superuser, found.sslmode, found.connect_timeout) == (True, "require", 180)


def test_the_environment_fills_in_what_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("h", "1", "d", "u", "p", "false", "disable", "9")
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
    found = configuration({"host": "given", "port": "2"})
    assert (found.host, found.port, found.database, found.username) == ("given", 2, "d", "u")
    assert (found.password, found.superuser, found.sslmode, found.connect_timeout) == ("p", False, "disable", 9)


def test_false_and_zero_are_values() -> None:
    found = configuration({"superuser": "false", "connectTimeout": "0"})
    assert (found.superuser, found.connect_timeout) == (False, 0)


def test_an_unknown_value_is_none() -> None:
    """Only previews, which do not connect, have unknown values."""
    assert configuration({"host": UNKNOWN, "port": UNKNOWN}).port == 5432


def test_its_text_does_not_hold_the_password() -> None:
    assert "hunter2" not in repr(configuration({"password": "hunter2"}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scheme", "awspostgres"),
        ("awsRdsIamAuth", "true"),
        ("azureIdentityAuth", "true"),
        ("gcpIamImpersonateServiceAccount", "a@b"),
        ("clientcert", '[{"cert": "c", "key": "k"}]'),
    ],
)
def test_what_only_the_real_plugin_can_do_is_refused_by_name(key: str, value: str) -> None:
    with pytest.raises(ProviderError, match=rf"does not support .*{key}.*Install the Pulumi CLI"):
        configuration({key: value})
