"""Random expressions: any shape of tree, some that divide by zero, some whose values grow long."""

from random import Random

_NUMBERS = ["0", "1", "2", "3", "7", "10", "-10", "0.5", "1e3", "99999"]
_OPERATORS = "++-*/"


def draw(random: Random) -> str:
    """A text that the grammar takes, with up to sixty operations, mostly a few."""
    if random.random() < 0.05:
        return random.choice(_NUMBERS)  # a bare number: no task at all
    count = random.choice([1, 2, 3, 5, 8, 12, 20, 60])
    zeros = 0.15 if random.random() < 0.2 else 0.0
    terms = [_number(random, zeros) for _ in range(count + 1)]
    if random.random() < 0.2:
        terms.sort(key=len)
    while len(terms) > 1:
        at = random.randrange(len(terms) - 1)
        joined = f"{terms[at]}{random.choice(_OPERATORS)}{terms[at + 1]}"
        terms[at : at + 2] = [f"({joined})" if random.random() < 0.6 else joined]
    return terms[0]


def _number(random: Random, zeros: float) -> str:
    if random.random() < zeros:
        return "0"
    return random.choice(_NUMBERS[1:]) if random.random() < 0.5 else str(random.randrange(2, 10_000))
