from itertools import pairwise

from pulumi_alembic.migrate.blocks.walk import FIRST, LARGEST, TARGET, Pace


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def pace(expected: int = 0, walked: int = 0) -> tuple[Pace, Clock, list[str]]:
    clock, told = Clock(), list[str]()
    return Pace("tasks", expected, walked, told.append, clock), clock, told


def test_batches_grow_until_they_take_their_time_and_stay_there() -> None:
    one, _, _ = pace()
    sizes = []
    for _ in range(30):
        sizes.append(one.size)
        one.done(one.size, one.size * 1e-5, waited_for=False)
    assert all(later <= 2 * earlier for earlier, later in pairwise(sizes))
    assert sizes[-1] == round(TARGET / 1e-5)


def test_a_slow_or_blocking_batch_is_followed_by_a_smaller_one() -> None:
    one, _, _ = pace()
    one.done(FIRST, 2 * TARGET, waited_for=False)
    assert one.size == FIRST // 2
    rest = one.done(FIRST // 2, TARGET / 100, waited_for=True)
    assert (one.size, rest) == (FIRST // 4, TARGET / 100)


def test_a_batch_is_neither_empty_nor_without_end() -> None:
    one, _, _ = pace()
    for _ in range(40):
        one.failed(timed_out=False)
    assert one.size == 1
    for _ in range(40):
        one.done(one.size, 0.0, waited_for=False)
    assert one.size == LARGEST


def test_only_a_single_row_that_ran_out_of_time_gets_all_the_time_it_needs() -> None:
    one, _, _ = pace()
    one.failed(timed_out=True)
    assert not one.patient
    while one.size > 1:
        one.failed(timed_out=True)
    one.failed(timed_out=False)
    assert not one.patient
    one.failed(timed_out=True)
    assert one.patient
    one.done(1, 1.0, waited_for=False)
    assert not one.patient


def test_progress_says_rows_share_rate_and_time_left_once_a_second_at_first() -> None:
    one, clock, told = pace(expected=4000, walked=1000)
    for _ in range(20):
        clock.now += 0.125
        one.done(125, 0.1, waited_for=False)
    assert told == [
        "tasks: 2,000 of about 4,000 rows (50 %), 1,000 rows/s, 2 s left",
        "tasks: 3,000 of about 4,000 rows (75 %), 1,000 rows/s, 1 s left",
    ]


def test_progress_claims_no_share_of_what_nobody_knows() -> None:
    one, clock, told = pace()
    clock.now += 2
    one.done(3000, 0.1, waited_for=False)
    assert told == ["tasks: 3,000 rows, 1,500 rows/s"]


def test_progress_is_said_less_often_the_longer_it_takes() -> None:
    one, clock, told = pace()
    for _ in range(3600):
        clock.now += 1
        one.done(1, 0.1, waited_for=False)
    assert 360 < len(told) < 450
