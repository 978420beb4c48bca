"""Expressions to measure with: literals distinct, so that nothing is shared, and values short."""

import random


def tree(tasks: int) -> str:
    """A sum that regroups into a balanced tree of so many additions; its value is `tree_value(tasks)`."""
    return "+".join(map(str, range(1, tasks + 2)))


def tree_value(tasks: int) -> int:
    return (tasks + 1) * (tasks + 2) // 2


def horner(tasks: int) -> tuple[str, int]:
    """Horner's scheme, `((5*3-2)*7-11)…`, which cannot be regrouped, and its value, which stays below 100."""
    chance = random.Random(1)
    value, parts = 5, []
    for _ in range(tasks // 2):
        factor, following = chance.randrange(2, 10), chance.randrange(10, 100)
        surplus = value * factor - following
        parts.append(f"*{factor}{'-' if surplus >= 0 else '+'}{abs(surplus)})")
        value = following
    return "(" * len(parts) + "5" + "".join(parts), value
