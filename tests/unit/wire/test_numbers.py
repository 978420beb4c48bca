import re
import time
import timeit
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from fractions import Fraction

import gmpy2  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curta_wire import numbers
from curta_wire.numbers import NumberError

CONTRACT = re.compile(r"^(0|-?[1-9][0-9]*)(/[1-9][0-9]*)?$")
PLAIN = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")
SCIENTIFIC = re.compile(r"-?[1-9](\.[0-9]*[1-9])?e[+-][1-9][0-9]*")

EXACT = Context(prec=100)

integers = st.one_of(st.integers(-1000, 1000), st.integers(), st.integers(-(10**80), 10**80))
fractions = st.builds(Fraction, integers, st.one_of(st.integers(1, 100), st.integers(1, 10**80)))


@st.composite
def terminating(draw: st.DrawFn) -> Fraction:
    """Fractions whose expansion ends, many of them near 30 digits and near the bounds of the plain form."""
    significand = draw(st.one_of(st.integers(1, 10**33), st.integers(10**29, 10**32)))
    significand += draw(st.sampled_from([0, 0, 5, 50, 500]))
    sign = draw(st.sampled_from([1, -1]))
    return Fraction(Decimal(sign * significand).scaleb(draw(st.integers(-70, 10)), EXACT))


@st.composite
def nearly_powers_of_ten(draw: st.DrawFn) -> Fraction:
    power: Fraction = Fraction(10) ** draw(st.one_of(st.integers(-35, 35), st.integers(-500, 500)))
    return power + Fraction(draw(st.sampled_from([-1, 0, 1])), 10 ** draw(st.integers(25, 40))) * power


values = st.one_of(fractions, terminating(), nearly_powers_of_ten())


def wire(value: Fraction) -> str:
    return str(value)


@given(values)
def test_what_is_rendered_has_the_wire_form_and_parses_to_the_same_value(value: Fraction) -> None:
    text = numbers.render(gmpy2.mpq(value.numerator, value.denominator))
    assert CONTRACT.match(text)
    assert text == wire(value)
    parsed = numbers.parse(text)
    assert (parsed.numerator, parsed.denominator) == (value.numerator, value.denominator)
    assert numbers.is_number(text)


@pytest.mark.parametrize("value", [gmpy2.mpz(-7), gmpy2.mpq(-14, 2)])
def test_an_integer_is_rendered_without_a_denominator(value: numbers.Number) -> None:
    assert numbers.render(value) == "-7"


def test_quotients_of_parsed_integers_are_exact() -> None:
    assert numbers.render(numbers.parse("1") / numbers.parse("3") * numbers.parse("3")) == "1"


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "-", "/", "1/", "/1", "-0", "00", "01", "-01", "+1", " 1", "1 ", "1\n", "1_000", "1.0", "½",
        "0x10", "١٢", "１", "1/0", "1/01", "1/-2", "1//2", "1/2/3", "2/4", "-2/4", "3/1", "0/1", "0/5", "nan",
        "6/3", "1e3", "inf", "−1", "1/2\x00",
    ],
)  # fmt: skip
def test_whatever_is_not_exactly_a_reduced_wire_number_is_refused(text: str) -> None:
    assert not numbers.is_number(text)
    with pytest.raises(NumberError):
        numbers.parse(text)


@given(st.one_of(st.text(max_size=10), st.text("0123456789-/+. e", max_size=8)))
def test_any_text_is_a_number_exactly_when_the_contract_says_so(text: str) -> None:
    reduced = CONTRACT.fullmatch(text) is not None and text == wire(Fraction(text))
    assert numbers.is_number(text) == reduced
    if reduced:
        assert wire(Fraction(str(numbers.parse(text)))) == text
    else:
        with pytest.raises(NumberError):
            numbers.parse(text)


@pytest.mark.parametrize("text", ["1" * 1_000_000, "-" + "1" * 1_000_000, "-" + "7" * 999_999 + "/2"])
def test_a_number_of_a_million_digits_is_accepted_and_one_digit_more_is_not(text: str) -> None:
    assert numbers.is_number(text)
    assert numbers.digits(text) == numbers.DIGITS_MAX
    assert numbers.render(numbers.parse(text)) == text
    longer = text.replace("7" if "/" in text else "1", "71", 1)
    assert not numbers.is_number(longer)
    with pytest.raises(NumberError, match="1000000 digits"):
        numbers.parse(longer)


@given(values)
def test_digits_counts_numerator_and_denominator_but_no_sign(value: Fraction) -> None:
    expected = len(str(abs(value.numerator))) + (len(str(value.denominator)) if value.denominator > 1 else 0)
    assert numbers.digits(wire(value)) == expected


@given(values)
def test_negate_is_the_other_sign_and_undoes_itself(value: Fraction) -> None:
    assert numbers.negate(wire(value)) == wire(-value)
    assert numbers.negate(numbers.negate(wire(value))) == wire(value)


def test_zero_has_no_sign() -> None:
    assert numbers.negate("0") == "0"
    assert numbers.decimal("0") == ("0", None)


@pytest.mark.parametrize(
    ("literal", "number"),
    [
        ("0", "0"), ("000", "0"), ("007", "7"), ("12", "12"), ("3.14", "157/50"), (".5", "1/2"), ("5.", "5"),
        ("1e-3", "1/1000"), ("2.5E+6", "2500000"), ("0.10", "1/10"), ("1.0", "1"), (".0", "0"), ("0e-5", "0"),
        ("0.0e7", "0"), ("00.50e01", "5"), ("1e0003", "1000"), ("5.e-1", "1/2"), ("1e1000", "1" + "0" * 1000),
        ("1e-1000", "1/1" + "0" * 1000),
    ],
)  # fmt: skip
def test_a_literal_becomes_the_wire_number_of_its_value(literal: str, number: str) -> None:
    assert numbers.from_literal(literal) == number


@given(st.from_regex(r"([0-9]{1,12}(\.[0-9]{0,40})?|\.[0-9]{1,40})([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_any_literal_has_the_value_that_python_reads(literal: str) -> None:
    assert numbers.from_literal(literal) == wire(Fraction(Decimal(literal)))


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "e3", ".e3", "1e", "1e+", "-1", "+1", "1_0", "1 ", "1e1.5", "0x1", "١", "1.٢", "1,5",
        "1e1001", "1e-1001", "1e" + "9" * 10_000,
    ],
)  # fmt: skip
def test_what_is_no_literal_of_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(NumberError):
        numbers.from_literal(text)


@given(values)
def test_decimal_is_the_value_rounded_half_even_to_thirty_digits_in_the_right_form(value: Fraction) -> None:
    result, exact = numbers.decimal(wire(value))
    if value.denominator == 1:
        assert (result, exact) == (str(value.numerator), None)
        return
    context = Context(prec=30, rounding=ROUND_HALF_EVEN, Emin=-(10**6), Emax=10**6)
    expected = context.divide(Decimal(value.numerator), Decimal(value.denominator))
    assert Decimal(result) == expected
    assert exact == (wire(value) if context.flags[Inexact] else None)
    is_plain = Fraction(1, 10**30) <= abs(Fraction(expected)) < 10**30
    assert (PLAIN if is_plain else SCIENTIFIC).fullmatch(result)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        (Fraction(3, 10), "0.3"),
        (Fraction(-1, 8), "-0.125"),
        (Fraction(1, 3), "0." + "3" * 30),
        (Fraction(-2, 3), "-0." + "6" * 29 + "7"),
        (Fraction(1, 10**30), "0." + "0" * 29 + "1"),
        (Fraction(1, 10**31), "1e-31"),
        (Fraction(-15, 10**32), "-1.5e-31"),
        (Fraction(1, 10**1000), "1e-1000"),
        (Fraction(10**31, 3), "3." + "3" * 29 + "e+30"),
        # The decision is made on the rounded value.
        (Fraction(10**31 - 1, 10**61), "0." + "0" * 29 + "1"),
        (Fraction(2 * 10**30 - 1, 2), "1e+30"),
        (Fraction(2 * 10**30 - 3, 2), "9" * 29 + "8"),
        # Ties go to the even digit; a hair more does not.
        (10**29 + Fraction(1, 2), "1" + "0" * 29),
        (10**29 + Fraction(3, 2), "1" + "0" * 28 + "2"),
        (10**29 + Fraction(1, 2) + Fraction(1, 10**60), "1" + "0" * 28 + "1"),
        # Thirty significant digits are exact, wherever the point is.
        (Fraction(int("123456789" * 3 + "123"), 10**15), "123456789123456.789123456789123"),
        (Fraction(int("9" * 30), 10**60), "9." + "9" * 29 + "e-31"),
    ],
)  # fmt: skip
def test_decimal_forms(value: Fraction, result: str) -> None:
    assert numbers.decimal(wire(value))[0] == result


def test_an_integer_is_never_rounded_however_long() -> None:
    text = "-" + "123456789" * 100_000
    assert numbers.decimal(text) == (text, None)


@pytest.mark.parametrize("text", ["", "-0", "1/0", "0/5", "1.5", "x"])
def test_decimal_of_no_number_is_an_error(text: str) -> None:
    with pytest.raises(NumberError):
        numbers.decimal(text)


@pytest.mark.parametrize(("numerator", "denominator"), [(1, 999_999), (500_000, 500_000), (999_998, 2)])
def test_a_fraction_of_a_million_digits_is_read_and_shown_within_a_second(
    numerator: int, denominator: int
) -> None:
    value = gmpy2.mpq(gmpy2.mpz("7" * numerator), gmpy2.mpz("1" * (denominator - 1) + "3"))
    began = time.perf_counter()
    text = numbers.render(value)
    assert numbers.is_number(text)
    assert numbers.parse(text) == value
    result, exact = numbers.decimal(text)
    assert exact == text
    assert len(result) < 50
    # About 0.3 s on one old core; anything quadratic would take minutes.
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("name", ["is_number", "negate", "from_literal", "digits"])
def test_a_plain_integer_costs_next_to_nothing(name: str) -> None:
    function = getattr(numbers, name)
    seconds = min(timeit.repeat(lambda: function("1234"), number=10_000, repeat=5))
    # A quarter of a microsecond each; the bound leaves room for a machine that is busy with other things.
    assert seconds / 10_000 < 5e-6
