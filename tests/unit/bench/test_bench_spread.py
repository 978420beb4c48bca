"""Several values as one figure."""

import pytest
from bench.spread import Spread, percentile, quantiles, short


def test_a_spread_is_the_median_and_the_ends() -> None:
    assert Spread.of([3.0, 1.0, 2.0, 10.0]) == (2.5, 1.0, 10.0)


def test_a_single_value_is_shown_without_ends() -> None:
    assert str(Spread.of([9.87])) == "9.87"
    assert str(Spread.of([71_432.0, 68_000.0, 73_900.0])) == "71,400 (68,000–73,900)"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.41234, "0.412"),
        (12.345, "12.3"),
        (999.4, "999"),
        (999.6, "1,000"),
        (1_234.0, "1,230"),
        (1e6 + 1, "1,000,000"),
    ],
)
def test_three_digits_are_shown(value: float, shown: str) -> None:
    assert short(value) == shown


def test_a_percentile_lies_between_the_values_in_proportion() -> None:
    assert percentile([7.0], 99) == 7.0
    assert percentile([float(value) for value in range(101)], 99) == 99.0
    assert percentile([2.0, 1.0], 50) == 1.5


def test_quantiles_go_from_the_lowest_to_the_highest() -> None:
    assert quantiles([5.0, 1.0, 3.0], 2) == [1.0, 3.0, 5.0]
    assert quantiles([5.0], 3) == [5.0, 5.0, 5.0, 5.0]
