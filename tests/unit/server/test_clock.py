"""The database's clock, measured by questions that take their time."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from curta_server.clock import DatabaseClock

APART_S = 1_790_000_000.0


def ask(
    clock: DatabaseClock, asked_s: float, *, there_s: float, back_s: float, apart_s: float = APART_S
) -> int:
    """Measure by a question that takes so long there and back: what the clock says of moment 100 then."""
    read_s = asked_s + there_s
    clock.measure(asked_s, round((read_s + apart_s) * 1_000_000), read_s + back_s)
    return clock.us(100.0)


def off_s(told_us: int, apart_s: float = APART_S) -> float:
    return abs(told_us / 1_000_000 - 100.0 - apart_s)


def test_the_first_measure_is_right_but_for_half_of_the_time_it_took() -> None:
    assert off_s(ask(DatabaseClock(), 5.0, there_s=0.0, back_s=0.2)) == pytest.approx(0.1, abs=1e-6)
    assert off_s(ask(DatabaseClock(), 5.0, there_s=0.1, back_s=0.1)) == pytest.approx(0.0, abs=1e-6)


def test_a_moment_is_told_the_same_whatever_the_measures_take() -> None:
    clock = DatabaseClock()

    def told_us() -> Iterator[int]:
        yield ask(clock, 1.0, there_s=0.0002, back_s=0.0002)
        for number in range(2, 100):
            yield ask(clock, float(number), there_s=number * 0.001, back_s=0.0003)
            yield ask(clock, number + 0.5, there_s=0.0003, back_s=number * 0.001)

    assert all(before == after for before, after in pairwise(told_us()))


def test_a_better_measure_is_believed_at_once() -> None:
    clock = DatabaseClock()
    assert off_s(ask(clock, 1.0, there_s=0.0, back_s=2.0)) > 0.9
    assert off_s(ask(clock, 4.0, there_s=0.0001, back_s=0.0001)) <= 0.0002


@pytest.mark.parametrize("step_s", [-3600.0, -0.01, 0.01, 3600.0])
def test_a_clock_that_was_set_is_followed_at_once(step_s: float) -> None:
    clock = DatabaseClock()
    ask(clock, 1.0, there_s=0.0005, back_s=0.0005)
    apart_s = APART_S + step_s
    assert off_s(ask(clock, 2.0, there_s=0.0005, back_s=0.0005, apart_s=apart_s), apart_s) <= 0.001


def test_both_ways() -> None:
    clock = DatabaseClock()
    ask(clock, 1.0, there_s=0.1, back_s=0.0)
    assert clock.monotonic_s(clock.us(77.25)) == pytest.approx(77.25, abs=1e-5)
