"""`make chaos`: one run, as long as you like. Prints its seed first and the report last; fails with 1."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from random import SystemRandom

from tests.chaos.run import run

FLOW_S = 15.0
"""After a kill of a leader tasks should flow again within this, unless other faults fall into that time."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(1_000_000))
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="curta-chaos-"))
    sys.stdout.write(
        f"seed {given.seed}, {given.minutes:g} minutes; {directory}/chronicle.txt says what happens\n"
    )
    sys.stdout.flush()
    report = asyncio.run(run(given.seed, given.minutes, directory))
    sys.stdout.write(f"{report.as_json()}\n\n{report}\n")
    if report.findings:
        chronicle = (directory / "chronicle.txt").read_text()
        happened = [line for line in chronicle.splitlines() if "PLAN" not in line]
        sys.stdout.write("\n".join(("", "What happened:", *happened, "")))
        return 1
    if max(report.flows_s, default=0.0) > FLOW_S:
        sys.stdout.write(
            f"\nNo promise was broken, but a flow took long; what happened is kept in {directory}\n"
        )
    else:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
