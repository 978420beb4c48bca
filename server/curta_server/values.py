"""What agents say, looked at before the scheduler, the journal or people see it: whether a value is one, and
texts as they can be shown.

Used by the agents' sessions and the pull endpoints; what becomes of a fault is theirs to say.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from curta_wire import numbers

INLINE_DIGITS: Final = 10_000
"""Longer fractions are checked in a child process: their gcd would hold the event loop for up to 0.2 s."""
TEXT_MAX: Final = 200

Fault = Literal["invalid_value", "too_large"]
Away = Callable[[Callable[[str, int], Fault | None], str, int], Awaitable[Fault | None]]
"""`Offload.run`, which may refuse, or `Offload.run_anyway`, which waits."""


async def fault(value: str, digits_max: int, away: Away) -> Fault | None:
    """What is wrong with the value, None where it is a wire number of at most `digits_max` digits.

    Raises: what `away` raises, which has a long fraction looked at elsewhere.
    """
    if len(value) <= INLINE_DIGITS or "/" not in value:
        return fault_of(value, digits_max)
    return await away(fault_of, value, digits_max)


def fault_of(value: str, digits_max: int) -> Fault | None:
    """The same, here and now."""
    if len(value) > digits_max and numbers.digits(value) > digits_max:
        digits = value.removeprefix("-").replace("/", "", 1)
        return "too_large" if digits.isascii() and digits.isdigit() else "invalid_value"
    return None if numbers.is_number(value) else "invalid_value"


def printable(text: str) -> str:
    """A text as it can be stored and shown: cut, and without characters that are neither."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:TEXT_MAX])
