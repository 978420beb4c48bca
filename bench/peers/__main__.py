"""`python -m bench.peers [name…] [--runs N] [--quick]`: Curta's own tree and chain beside its peers."""

import argparse
import asyncio
import signal
import sys

from rich.console import Console

from bench import report
from bench.peers import PEERS, QUICK, Sizes, measure
from bench.peers.table import settings, table
from bench.rig import rig


def main() -> int:
    chosen = _arguments()
    # As Ctrl-C: every `with` block ends what it began.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A file or a pipe has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=150)
    left_out: list[str] = []

    def say(line: str) -> None:
        if line.startswith("!"):
            left_out.append(line)
        console.print(line, style="bold red" if line.startswith("!") else "dim", markup=False)

    sizes = QUICK if chosen.quick else Sizes()
    with rig() as machine:
        rows = asyncio.run(measure(machine, sizes, chosen.runs, names=chosen.peer, say=say))
    console.print(table(rows))
    for line in settings(rows):
        console.print(line, markup=False, highlight=False)
    # Once more, where nobody overlooks it.
    for line in left_out:
        console.print(line, style="bold red", markup=False)
    if rows:
        path = report.save(rows, quick=chosen.quick)
        console.print(f"Medians; every value is in {path.relative_to(report.RESULTS.parent.parent)}")
    return 0


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="bench.peers", description=__doc__)
    arguments.add_argument("peer", nargs="*", choices=[[], *PEERS], help="all of them if none is named")
    arguments.add_argument("--runs", type=int, default=3, help="how often Curta and a peer take turns")
    arguments.add_argument("--quick", action="store_true", help="smaller: about two minutes")
    return arguments.parse_args()


if __name__ == "__main__":
    sys.exit(main())
