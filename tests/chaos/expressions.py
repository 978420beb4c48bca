"""Random expressions and what they must come to, by the plain reference and not by the product's parser."""

from __future__ import annotations

from fractions import Fraction
from random import Random
from typing import NamedTuple

from tests.support import reference

_SIZES = ((1, 4), (2, 8), (4, 16), (16, 50))
"""Operands: few of them mostly, many now and then."""
_SIZE_WEIGHTS = (4, 4, 3, 1)


class Exercise(NamedTuple):
    """A text and its exact value; None where it divides by zero."""

    text: str
    value: Fraction | None


def draw(random: Random) -> Exercise:
    low, high = random.choices(_SIZES, _SIZE_WEIGHTS)[0]
    text = _text(random, random.randint(low, high))
    return Exercise(text, reference.evaluate(reference.parse(text)))


def _text(random: Random, operands: int) -> str:
    if operands == 1:
        return _literal(random)
    left = random.randint(1, operands - 1)
    operation = random.choices(("+", "-", "*", "/"), (4, 3, 2, 2))[0]
    text = f"{_part(random, left)} {operation} {_part(random, operands - left)}"
    return f"-({text})" if random.random() < 0.05 else text


def _part(random: Random, operands: int) -> str:
    text = _text(random, operands)
    return f"({text})" if operands > 1 and random.random() < 0.6 else text


def _literal(random: Random) -> str:
    match random.randrange(6):
        case 0:
            return f"{random.randint(0, 99)}.{random.randint(1, 99)}"
        case 1:
            # Small enough that `5 - 5` is met below a stroke now and then.
            return str(random.randint(0, 3))
        case _:
            return str(random.randint(1, 100_000))
