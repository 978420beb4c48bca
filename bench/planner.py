"""How long parsing and planning take: `python -m bench.planner [--operands N]`.

Seconds for long expressions of several shapes (best of one: they are long enough), microseconds for `2+2*2`.
"""

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterator

from curta_server.core.expression import parse
from curta_server.core.plan import Plan, build

DURATIONS_MS = (1000, 1000, 2000, 2000)
FIGURE_S = 10.0
"""What design and users expect of 1,000,000 operands, parse and plan together."""


def shapes(operands: int) -> Iterator[tuple[str, str]]:
    """Texts with that many operands, all distinct, each with its name."""
    chance = random.Random(1)
    numbers = [str(i) for i in range(1, operands + 1)]
    yield "sum", "+".join(numbers)
    yield "sum and differences", mixed(numbers, "+-", chance)
    yield "products and quotients", mixed(numbers, "*/", chance)
    yield "all four operations", mixed(numbers, "+-*/", chance)
    yield "divisions", "/".join(numbers)
    yield "nest to the right", "+(".join(numbers) + ")" * (operands - 1)
    yield "nest to the left", "(" * (operands - 1) + "*".join(f"{number})" for number in numbers)[:-1]
    alternating = "".join(number + "+-*/"[i * 3 % 4] + "(" for i, number in enumerate(numbers[:-1]))
    yield "nest of all four", alternating + numbers[-1] + ")" * (operands - 1)
    yield "one number only", "+".join("2" for _ in numbers)
    yield "few numbers", mixed([str(chance.randrange(100)) for _ in numbers], "+-*/", chance)


def mixed(numbers: list[str], operators: str, chance: random.Random) -> str:
    return "".join(number + chance.choice(operators) for number in numbers) + "0.5"


def report(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measure_long(operands: int) -> bool:
    """One line for each shape; whether all keep the figure."""
    worst = 0.0
    report(
        f"{'shape':<24} {'parse s':>8} {'plan s':>8} {'encode s':>8} {'decode s':>8} {'MB':>6} {'tasks':>9}"
    )
    for name, text in shapes(operands):
        begin = time.perf_counter()
        tree = parse(text)
        parsed = time.perf_counter()
        plan = build(tree, DURATIONS_MS)
        planned = time.perf_counter()
        data = plan.encode()
        encoded = time.perf_counter()
        Plan.decode(data, text)
        decoded = time.perf_counter()
        worst = max(worst, planned - begin)
        report(
            f"{name:<24} {parsed - begin:8.2f} {planned - parsed:8.2f} {encoded - planned:8.2f}"
            f" {decoded - encoded:8.2f} {len(data) / 1e6:6.1f} {len(plan):9,}"
        )
    report(f"slowest parse + plan {worst:.2f} s; at most {FIGURE_S:.0f} s are expected of 1,000,000 operands")
    report(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return worst <= FIGURE_S


def measure_short(text: str = "2+2*2", rounds: int = 20_000) -> float:
    """Microseconds for parse and plan together, on average."""
    begin = time.perf_counter()
    for _ in range(rounds):
        build(parse(text), DURATIONS_MS)
    return (time.perf_counter() - begin) / rounds * 1e6


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--operands", type=int, default=1_000_000)
    operands: int = arguments.parse_args().operands
    report(f"2+2*2: {measure_short():.1f} µs to parse and plan")
    return 0 if measure_long(operands) else 1


if __name__ == "__main__":
    sys.exit(main())
