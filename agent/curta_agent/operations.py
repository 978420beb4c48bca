"""The arithmetic: an operation and two wire numbers give a wire number or a fault. Pure, and never raises.

Called for each task by `slots`, for large numbers in a child process; knows neither tasks nor time. Small
integers, which are nearly all tasks, take about a microsecond in Python's own integers; everything else goes
through gmpy2.
"""

import re
from math import gcd
from typing import Final

from curta_wire import numbers
from curta_wire.frames import Fault

INLINE_DIGITS_MAX: Final = 4_000
"""Operands with more characters than this together are computed off the event loop: beyond it one task could
take a millisecond, and a full set of slots would hold a heartbeat up."""

_small = re.compile(r"0|-?[1-9][0-9]{0,17}").fullmatch

_DIVISION_BY_ZERO: Final = Fault("division_by_zero", "division by zero")
_TOO_LARGE: Final = Fault("too_large", f"the value has more than {numbers.DIGITS_MAX} digits")


def is_heavy(a: str, b: str) -> bool:
    """Whether `compute` on these operands may take so long that it belongs into another process."""
    return len(a) + len(b) > INLINE_DIGITS_MAX


def compute(operation: str, a: str, b: str) -> str | Fault:
    """The exact value of `a operation b` as a wire number, or why there is none.

    Faults: `division_by_zero`; `too_large` beyond numbers.DIGITS_MAX digits, numerator and denominator
    together; `unknown_operation`; `invalid_operand` where an operand is not a wire number.
    """
    if _small(a) is None or _small(b) is None:
        return _compute_large(operation, a, b)
    x, y = int(a), int(b)
    if operation == "addition":
        return str(x + y)
    if operation == "subtraction":
        return str(x - y)
    if operation == "multiplication":
        return str(x * y)
    if operation == "division":
        if not y:
            return _DIVISION_BY_ZERO
        common = gcd(x, y) if y > 0 else -gcd(x, y)
        denominator = y // common
        return str(x // common) if denominator == 1 else f"{x // common}/{denominator}"
    return _unknown(operation)


def _compute_large(operation: str, a: str, b: str) -> str | Fault:
    try:
        x, y = numbers.parse(a), numbers.parse(b)
    except numbers.NumberError as error:
        return Fault("invalid_operand", str(error))
    if operation == "addition":
        value = x + y
    elif operation == "subtraction":
        value = x - y
    elif operation == "multiplication":
        value = x * y
    elif operation == "division":
        if not y:
            return _DIVISION_BY_ZERO
        value = x / y
    else:
        return _unknown(operation)
    # num_digits costs nothing but may say one too many for each part; so the text decides, where it is near.
    estimate = value.numerator.num_digits() + (
        value.denominator.num_digits() if value.denominator != 1 else 0
    )
    if estimate > numbers.DIGITS_MAX + 2:
        return _TOO_LARGE
    text = numbers.render(value)
    return _TOO_LARGE if numbers.digits(text) > numbers.DIGITS_MAX else text


def _unknown(operation: str) -> Fault:
    return Fault("unknown_operation", f"this agent does not know {operation[:40]!r}")
