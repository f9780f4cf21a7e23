"""Waves: the canary first, each database once, in order."""

import pytest

from pulumi_alembic.errors import PolicyError
from pulumi_alembic.fanout.plan.waves import Waves


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({}, [1, 2, 4, 3]),
        ({"canary": 3}, [3, 6, 1]),
        ({"wave": 4}, [1, 4, 4, 1]),
        ({"canary": 2.0, "wave": 100.0}, [2, 8]),
        ({"canary": 50}, [10]),
    ],
)
def test_the_waves_hold_all_in_their_order(settings: dict[str, float], sizes: list[int]) -> None:
    waves = list(Waves.parse(settings).of(range(10)))
    assert [len(wave) for wave in waves] == sizes
    assert [item for wave in waves for item in wave] == list(range(10))


def test_nothing_to_do_is_no_wave() -> None:
    assert list(Waves().of([])) == []


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["canary", "wave", "parallel"])
def test_what_is_no_number_of_databases_is_refused(name: str, value: object) -> None:
    with pytest.raises(PolicyError, match=f"{name} must be a whole number from 1, not .*"):
        Waves.parse({name: value})


def test_settings_are_read_again_as_they_were() -> None:
    for settings in ({}, {"canary": 2}, {"wave": 7, "parallel": 3}, {"on_error": "continue"}):
        assert Waves.parse(settings).settings == settings
    assert Waves.parse({"on_error": "stop"}).settings == {}


def test_what_happens_on_an_error_has_two_words() -> None:
    with pytest.raises(PolicyError, match="on_error must be stop or continue, not 'ignore'"):
        Waves.parse({"on_error": "ignore"})
