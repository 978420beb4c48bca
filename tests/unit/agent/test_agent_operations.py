"""The arithmetic is exact, its faults are the protocol's, and it is fast where it has to be."""

from fractions import Fraction
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curta_agent.operations import compute, is_heavy
from curta_wire.frames import OPERATIONS, Fault

REFERENCE = {
    "addition": Fraction.__add__,
    "subtraction": Fraction.__sub__,
    "multiplication": Fraction.__mul__,
    "division": Fraction.__truediv__,
}

integers = st.one_of(st.integers(-9, 9), st.integers(-(10**19), 10**19), st.integers(-(10**60), 10**60))
numbers = st.one_of(
    integers.map(Fraction),
    st.builds(Fraction, integers, integers.filter(lambda denominator: denominator != 0)),
)


@given(st.sampled_from(OPERATIONS), numbers, numbers)
@settings(max_examples=2000, deadline=None)
def test_every_operation_equals_fractions(operation: str, a: Fraction, b: Fraction) -> None:
    outcome = compute(operation, str(a), str(b))
    if operation == "division" and b == 0:
        assert isinstance(outcome, Fault) and outcome.code == "division_by_zero"
    else:
        assert outcome == str(REFERENCE[operation](a, b))


@pytest.mark.parametrize(
    ("operation", "a", "b", "value"),
    [
        ("division", "-6", "4", "-3/2"),
        ("division", "6", "-4", "-3/2"),
        ("division", "-6", "-3", "2"),
        ("division", "0", "-5", "0"),
        ("division", "0", "1/3", "0"),
        (
            "multiplication",
            "999999999999999999",
            "999999999999999999",
            "999999999999999998000000000000000001",
        ),
        ("addition", "1/3", "-1/3", "0"),
        ("subtraction", "16777216", "-1", "16777217"),
    ],
)
def test_values_have_the_wire_form(operation: str, a: str, b: str, value: str) -> None:
    assert compute(operation, a, b) == value


@pytest.mark.parametrize(
    "operand", ["", "-", "-0", "00", "+1", " 1", "1 ", "1_0", "1.5", "1/1", "2/4", "1/0", "٣", "x"]
)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_is_not_a_wire_number_is_the_agents_failure_not_a_value(operation: str, operand: str) -> None:
    for outcome in (compute(operation, operand, "1"), compute(operation, "1", operand)):
        assert isinstance(outcome, Fault) and outcome.code == "invalid_operand"


def test_an_unknown_operation_is_a_fault_with_small_and_large_operands() -> None:
    for outcome in (compute("power", "2", "3"), compute("power", "9" * 50, "1/2")):
        assert isinstance(outcome, Fault) and outcome.code == "unknown_operation"


@pytest.mark.parametrize(
    ("operation", "a", "b", "digits"),
    [
        ("multiplication", "1" + "0" * 999_998, "10", 1_000_000),
        ("multiplication", "1" + "0" * 999_999, "10", None),
        ("addition", "9" * 1_000_000, "0", 1_000_000),
        ("addition", "9" * 1_000_000, "1", None),
        ("division", "1", "9" * 999_999, 1_000_000),
        ("division", "1", "9" * 1_000_000, None),
        ("subtraction", "-" + "9" * 1_000_000, "-1", 1_000_000),
    ],
)
def test_a_value_has_a_million_digits_at_most(operation: str, a: str, b: str, digits: int | None) -> None:
    outcome = compute(operation, a, b)
    if digits is None:
        assert isinstance(outcome, Fault) and outcome.code == "too_large"
    else:
        assert isinstance(outcome, str)
        assert sum(map(str.isdecimal, outcome)) == digits


def test_small_numbers_are_not_heavy_and_large_ones_are() -> None:
    assert not is_heavy("9" * 100, "1/3")
    assert is_heavy("9" * 5_000, "1")


def test_adding_small_integers_takes_microseconds() -> None:
    began = process_time()
    for _ in range(100_000):
        compute("addition", "123456", "-7")
    # 0.8 µs each where this was written; the limit leaves room for slow machines, not for another magnitude.
    assert process_time() - began < 1.0
