"""Exact rational numbers as text: what `value` and `operands` of the frames hold, and how people read them.

Owns the wire form of a number (`"-12"`, `"1/3"`: reduced, no leading zeros, no denominator of 1), the way
from a literal of the grammar to it, and the decimal rendering. Called by agents, which compute, and by the
server, to which values are opaque text; knows neither frames nor expressions.

Functions that meet one number for each task (`is_number`, `from_literal`, `negate`, `digits`) stay in text
and cost well below a microsecond for plain integers. Long conversions go through GMP, which is
subquadratic; Python's own `int(str)` and `str(int)` are quadratic and refuse more than 4,300 digits, so
they never see a long number. At DIGITS_MAX digits `parse` and `is_number` take up to 0.2 s (a fraction's
gcd), `decimal` 40 ms.
"""

import re
from typing import Any, Final, Protocol

from gmpy2 import f_divmod, gcd, mpq, mpz  # type: ignore[import-untyped, unused-ignore]

DIGITS_MAX: Final = 1_000_000
"""The most digits of a value, numerator and denominator together."""

SIGNIFICANT_MAX: Final = 30
"""How many significant digits `decimal` gives a fraction, and how many powers of ten are written out."""

EXPONENT_MAX: Final = 1000
"""The largest exponent of a literal, and with a minus the smallest."""

# Narrower than the contract's pattern by "0/5", which is not reduced: so nothing below meets a zero fraction.
_wire_form = re.compile(r"0|-?[1-9][0-9]*(/[1-9][0-9]*)?").fullmatch
_literal_form = re.compile(r"(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?)([0-9]+))?").fullmatch


class NumberError(ValueError):
    """The text is not a number in the form that was asked for; the message says why without quoting it."""


class Number(Protocol):
    """An exact rational number, reduced: gmpy2's `mpq`, or any other with its arithmetic."""

    @property
    def numerator(self) -> Any: ...
    @property
    def denominator(self) -> Any: ...
    def __bool__(self) -> bool: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...


def parse(text: str) -> Number:
    """The value of a wire number, as `mpq` also where it is an integer (`mpz / mpz` would be a float).

    Raises: NumberError where `text` has not exactly the wire form, is not reduced, or is too long.
    """
    if _wire_form(text) is None:
        raise NumberError('a number is "0", "-12" or "1/3", in plain digits')
    if digits(text) > DIGITS_MAX:
        raise NumberError(f"a number has at most {DIGITS_MAX} digits")
    numerator, slash, denominator = text.partition("/")
    if not slash:
        return _rational(mpz(numerator))
    divisor = mpz(denominator)
    value = _rational(mpz(numerator), divisor)
    if divisor == 1 or value.denominator != divisor:
        raise NumberError("a fraction is reduced and its denominator is greater than 1")
    return value


def render(value: Number) -> str:
    """The wire form of `value`, however long it is: limits are the caller's decision (see `digits`)."""
    numerator = str(mpz(value.numerator))
    return numerator if value.denominator == 1 else f"{numerator}/{mpz(value.denominator)}"


def digits(text: str) -> int:
    """How many digits a wire number has, numerator and denominator together."""
    return len(text) - (text[:1] == "-") - ("/" in text)


def is_number(text: str) -> bool:
    """Whether `parse` would accept `text`. An integer costs one regular expression, a fraction also a gcd."""
    found = _wire_form(text)
    if found is None or (len(text) > DIGITS_MAX and digits(text) > DIGITS_MAX):
        return False
    if found.lastindex is None:
        return True
    numerator, _, denominator = text.partition("/")
    return denominator != "1" and bool(gcd(mpz(numerator), mpz(denominator)) == 1)


def from_literal(text: str) -> str:
    """The wire form of an unsigned literal of the grammar: `"3.14"`, `".5"`, `"5."`, `"1e-3"`, `"007"`.

    Raises: NumberError where `text` is not such a literal or its exponent is beyond ±EXPONENT_MAX.
    """
    if text.isdecimal() and text.isascii():
        return text if text[0] != "0" else text.lstrip("0") or "0"
    match = _literal_form(text)
    if match is None:
        raise NumberError('a literal is "3", "3.14", ".5", "5." or "1e-3", in ASCII digits')
    whole, places, places_alone, minus, power = match.groups()
    places = places or places_alone or ""
    exponent = _exponent(power) if power else 0
    if minus == "-":
        exponent = -exponent
    mantissa = mpz((whole or "") + places)
    shift = exponent - len(places)
    if shift >= 0:
        return str(mantissa * mpz(10) ** shift)
    return render(_rational(mantissa, mpz(10) ** -shift))


def negate(text: str) -> str:
    """The wire form of a wire number with the other sign; zero has none."""
    if text[0] == "-":
        return text[1:]
    return text if text == "0" else "-" + text


def decimal(text: str) -> tuple[str, str | None]:
    """A wire number as people read it: `(result, exact)`.

    `result` has plain digits without trailing zeros and is never "-0". An integer is never rounded. A
    fraction is exact where its expansion ends within SIGNIFICANT_MAX significant digits; otherwise it is
    rounded half-even to that many, and `exact` holds the fraction (else None). A fraction whose magnitude
    is then below 1e-30, or 1e30 and more, has the form "1.5e-31", "3.33e+40".
    Raises: NumberError where `text` has not the wire form (that it is reduced is taken for granted).
    """
    if _wire_form(text) is None:
        raise NumberError('a number is "0", "-12" or "1/3", in plain digits')
    numerator, slash, denominator = text.partition("/")
    if not slash:
        return text, None
    sign = "-" if numerator[0] == "-" else ""
    significand, power, is_exact = _round(mpz(numerator.removeprefix("-")), mpz(denominator))
    return sign + _plain_or_scientific(significand, power), None if is_exact else text


def _round(numerator: Any, denominator: Any) -> tuple[str, int, bool]:
    """A positive fraction as `significand * 10**power`, and whether nothing was lost.

    The significand has at most SIGNIFICANT_MAX digits and no trailing zeros. The operands' lengths tell the
    quotient's magnitude to within a few places (num_digits may be one too many), so one division gives one to
    four digits more than are kept: a tie shows in them, and the remainder decides whether it really is one.
    """
    shift = SIGNIFICANT_MAX + 2 - (numerator.num_digits(10) - denominator.num_digits(10))
    if shift >= 0:
        numerator *= mpz(10) ** shift
    else:
        denominator *= mpz(10) ** -shift
    quotient, remainder = f_divmod(numerator, denominator)
    dropped = len(str(quotient)) - SIGNIFICANT_MAX
    unit = mpz(10) ** dropped
    kept, rest = f_divmod(quotient, unit)
    is_exact = not rest and not remainder
    twice = 2 * rest
    if twice > unit or (twice == unit and (remainder or kept % 2)):
        kept += 1
    shown = str(kept)
    significand = shown.rstrip("0")
    return significand, dropped - shift + len(shown) - len(significand), is_exact


def _plain_or_scientific(significand: str, power: int) -> str:
    """The text of `significand * 10**power`; the significand has no zeros at either end."""
    magnitude = len(significand) - 1 + power
    if not -SIGNIFICANT_MAX <= magnitude < SIGNIFICANT_MAX:
        point = "." if len(significand) > 1 else ""
        return f"{significand[0]}{point}{significand[1:]}e{magnitude:+d}"
    if power >= 0:
        return significand + "0" * power
    if magnitude < 0:
        return "0." + "0" * (-magnitude - 1) + significand
    return f"{significand[:power]}.{significand[power:]}"


def _exponent(power: str) -> int:
    """The magnitude of a literal's exponent. Leading zeros go first: `int` refuses very long texts."""
    significant = power.lstrip("0") or "0"
    if len(significant) > len(str(EXPONENT_MAX)) or int(significant) > EXPONENT_MAX:
        raise NumberError(f"an exponent is at most {EXPONENT_MAX} in magnitude")
    return int(significant)


def _rational(numerator: Any, denominator: Any = 1) -> Number:
    value: Number = mpq(numerator, denominator)
    return value
