"""Random texts by the million: `python -m tests.fuzz.fuzz_parser [--examples N] [--seconds S] [--seed SEED]`.

Parser and reference must read each text alike or refuse it at the same place, and what is planned of it must
have its exact value and be no worse than as written. Prints the seed and the text where they do not. Much
faster than Hypothesis, and therefore without its shrinking: texts are short instead.
"""

import argparse
import random
import sys
import time

from tests.support import plans, reference

from curta_server.core.expression import ExpressionError, parse
from curta_server.core.plan import Plan, build

NUMBERS = ("0", "0", "1", "2", "3", "10", "3.14", ".5", "5.", "1e-3", "2.5E+2", "007", "1e1001", "12345")
BINARY = ("+", "-", "*", "/", "+", "-", "*", "/", "×", "·", "÷", "−")
SPACES = ("", "", "", "", "", "", " ", "\t", "\u00a0", "\u2003", "\n")
ANYTHING = "0123456789.eE+-*/()()×·÷−–—,:^%_ax \t\n\u00a0\u2003\u200b\ufeff٣²\x00\ud800😀"
DURATIONS = (0, 0, 1, 3, 10, 1000, 2000, 10**6)
DIGITS_MAX = 4


def expression(chance: random.Random, operands: int) -> str:
    """A text of the grammar with that many operands, but for the numbers out of range."""
    parts: list[str] = []
    depth = 0
    for left in reversed(range(operands)):
        parts.append(chance.choice(SPACES))
        while (choice := chance.random()) < 0.25:
            parts.append("-" if choice < 0.12 else "(")
            depth += choice >= 0.12
        parts.append(chance.choice(NUMBERS))
        while depth and chance.random() < 0.35:
            parts.append(")")
            depth -= 1
        parts.append(chance.choice(SPACES))
        if left:
            parts.append(chance.choice(BINARY))
    return "".join(parts) + ")" * depth


def broken(chance: random.Random, text: str) -> str:
    """The text with one to three slips."""
    for _ in range(chance.randint(1, 3)):
        place = chance.randint(0, len(text))
        slip = "".join(chance.choices(ANYTHING, k=chance.randint(0, 2)))
        text = text[:place] + slip + text[place + chance.randint(0, 2) :]
    return text


def check(text: str, durations: tuple[int, ...]) -> bool:
    """Whether the text is an expression. Raises: AssertionError where product and reference differ."""
    try:
        written = reference.parse(text, DIGITS_MAX)
    except reference.Refused as refused:
        expected = (refused.position, refused.expected, refused.code)
        try:
            parse(text, literal_digits_max=DIGITS_MAX)
        except ExpressionError as error:
            seen = (error.position, error.expected, error.code)
            assert seen == expected, f"refused with {seen}, not {expected}"
            return False
        raise AssertionError(f"accepted, not refused with {expected}") from refused
    tree = parse(text, literal_digits_max=DIGITS_MAX)
    assert plans.tree_of(build(tree, durations, optimize=False)) == written, "read differently"
    plan = build(tree, durations)
    costs = [duration + 1 for duration in durations]
    assert plans.value_of(plan) == reference.evaluate(written), "another value"
    assert plans.critical_path(plan, costs) <= reference.critical_path(written, costs), "a longer path"
    assert plans.work(plan, costs) <= reference.shared_work(written, costs), "more work"
    assert Plan.decode(plan.encode(), text) == plan, "changed by encoding"
    return True


def run(examples: int, seconds: float, seed: int) -> tuple[int, int]:
    """Check that many texts, or as many as time allows; how many there were, how many were expressions.

    Raises: AssertionError with seed, durations and text at the first difference; any other exception is one,
    too.
    """
    chance = random.Random(seed)
    end = time.monotonic() + seconds
    done = accepted = 0
    while done < examples and (done % 256 or time.monotonic() < end):
        text = expression(chance, chance.choice((1, 2, 3, 4, 6, 8, 12, 20)))
        if chance.random() < 0.6:
            text = broken(chance, text)
        durations = tuple(chance.choices(DURATIONS, k=4))
        try:
            accepted += check(text, durations)
        except Exception as error:
            raise AssertionError(f"seed={seed} example={done} {durations=} {text=}: {error}") from error
        done += 1
    return done, accepted


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--examples", type=int, default=1_000_000)
    arguments.add_argument("--seconds", type=float, default=float("inf"))
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    chosen = arguments.parse_args()
    sys.stdout.write(f"seed {chosen.seed}\n")
    sys.stdout.flush()
    done, accepted = run(chosen.examples, chosen.seconds, chosen.seed)
    sys.stdout.write(f"{done:,} texts, {accepted:,} of them expressions: no difference\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
