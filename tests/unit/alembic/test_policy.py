"""A policy that cannot be followed is rejected with the reason."""

import pytest

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.policy import Policy


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("5s", 5), ("2min", 120), ("1h", 3600), ("1.5s", 1.5), (" 10 s ", 10)]
)
def test_a_duration_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    assert Policy.parse({"lock_timeout": text, "lock_deadline": "2h"}).lock_timeout == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"lock_timeout": "-1s"},
            "lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not '-1s'",
        ),
        (
            {"lock_timeout": "200"},
            "lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not '200'",
        ),
        (
            {"lock_timeout": 200},
            "lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not '200'",
        ),
        (
            {"lock_timeout": "2 minutes"},
            "lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not '2 minutes'",
        ),
        ({"lock_timeout": ""}, "lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not ''"),
        (
            {"lock_timeout": "1e3s"},
            "lock_timeout must be a number with its unit (such as 200ms, 5s, 2min or 1h), not '1e3s'",
        ),
        ({"lock_timeout": "0s"}, "lock_timeout is 0 s: it is between 1ms and 168h"),
        ({"lock_deadline": "200h"}, "lock_deadline is 720000 s: it is between 1ms and 168h"),
        ({"lock_timeout": "10s", "lock_deadline": "5s"}, "lock_timeout, 10 s, is above lock_deadline, 5 s"),
        ({"migration_wait": "0ms"}, "migration_wait is 0 s"),
        ({"preflight": "yes"}, "preflight must be true or false, not 'yes'"),
        ({"keep_data": "no"}, "keep_data must be true or false, not 'no'"),
        ({"min_free_connections": "-1"}, "min_free_connections must be a whole number from 0, not '-1'"),
        (
            {"max_replica_lag": "never"},
            "max_replica_lag must be a number with its unit (such as 200ms, 5s, 2min or 1h), not 'never'",
        ),
        (
            {"max_wal_rate": "20 mb"},
            "max_wal_rate must be a whole number with its unit (such as 500kB/s or 20MB/s), not '20 mb'",
        ),
        ({"max_wal_rate": "0MB/s"}, "max_wal_rate must be a whole number with its unit"),
        ({"lock_time": "1s"}, "there is no setting lock_time; there are: lock_timeout, lock_deadline"),
    ],
)
def test_what_cannot_be_kept_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.parse(settings)
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [-1.0, 0.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["lock_timeout", "lock_deadline", "migration_wait", "max_transaction_age"])
def test_a_policy_made_in_python_is_checked_alike(name: str, value: float) -> None:
    with pytest.raises(PolicyError, match=name):
        Policy(**{name: value})  # type: ignore[arg-type]


def test_a_rate_made_in_python_is_checked_alike() -> None:
    with pytest.raises(PolicyError, match="max_wal_rate must be a whole number of bytes from 0, not -1"):
        Policy(max_wal_rate=-1)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lock_timeout": "50ms"},
        {"lock_deadline": "90s", "preflight": "true", "min_free_connections": "7"},
        {"keep_data": "false"},
        {"lock_wait_max": "100ms"},
        {"max_wal_rate": "1000B/s"},
        {"max_wal_rate": "1536kB/s"},
        {"max_wal_rate": "20MB/s"},
        {"max_wal_rate": "3GB/s"},
    ],
)
def test_its_settings_make_the_same_policy_again(settings: dict[str, str]) -> None:
    """The settings are what passes through Pulumi's engine to the provider."""
    policy = Policy.parse(settings)
    assert policy.settings == settings
    assert Policy.parse(policy.settings) == policy
