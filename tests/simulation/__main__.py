"""`make simulate SEEDS=10000` lives through so many histories, and says what they came to.

`make simulate SEED=7` replays one and prints its trace. Always with PYTHONHASHSEED=0, for a set of texts has
another order otherwise: set here where it is not.
"""

import argparse
import os
import sys
import time

TRACE_LINES = 250


def main() -> int:
    """The exit code: 1 where a promise was broken."""
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    parser = argparse.ArgumentParser(prog="simulate", description="Seeded histories of the whole system.")
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="replay this one, with its trace")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after so long")
    parser.add_argument("--keep-going", action="store_true", help="do not end at the first broken promise")
    given = parser.parse_args()
    if given.seed is not None:
        return _replay(given.seed)
    from tests.simulation.report import Report
    from tests.simulation.runner import histories

    report = Report()
    began = time.monotonic()
    seeds = range(given.first, given.first + given.seeds)
    for outcome in histories(seeds, processes=given.processes, seconds=given.seconds):
        report.add(outcome)
        if outcome.violation is not None:
            _say(f"seed {outcome.seed}: {outcome.violation}")
            if not given.keep_going:
                break
    _say(report.text(time.monotonic() - began))
    if report.violations and not given.keep_going:
        return _replay(report.violations[0].seed)
    return 1 if report.violations else 0


def _replay(seed: int) -> int:
    from tests.simulation.runner import replay

    outcome = replay(seed)
    lines = outcome.trace
    if len(lines) > TRACE_LINES and os.environ.get("TRACE") != "all":
        _say(f"({len(lines) - TRACE_LINES} lines before these; TRACE=all shows them)")
        lines = lines[-TRACE_LINES:]
    _say("\n".join(lines))
    _say(f"seed {seed}: {outcome.violation or 'all promises kept'}; log {outcome.digest}")
    _say(f"Replay it with: make simulate SEED={seed}")
    return 1 if outcome.violation is not None else 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
