"""`python -m bench [--quick] [--shape 4000x4] [--pairs N] [figure …]`: measure, print, save the values."""

import argparse
import asyncio
import signal
import sys
from dataclasses import replace

from rich.console import Console

from bench import report
from bench.figures import FIGURES, QUICK, RIGS, Sizes
from bench.rig import rig


def main() -> int:
    chosen = _arguments()
    sizes = QUICK if chosen.quick else Sizes()
    if chosen.shape:
        sizes = replace(sizes, shapes=tuple(chosen.shape))
    if chosen.pairs:
        sizes = replace(sizes, pairs=chosen.pairs)
    # As Ctrl-C: every `with` block ends what it began.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A file or a pipe has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=110)
    rows: list[report.Row] = []
    for together in RIGS:
        names = [name for name in together if not chosen.figure or name in chosen.figure]
        if names:
            with rig() as machine:
                for name in names:
                    console.print(f"measuring: {name}", style="dim")
                    rows += asyncio.run(FIGURES[name](machine, sizes))
    console.print(report.table(rows))
    path = report.save(rows, quick=chosen.quick)
    console.print(f"Medians; every value is in {path.relative_to(report.RESULTS.parent.parent)}")
    return 0


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    arguments.add_argument("figure", nargs="*", choices=[[], *FIGURES], help="all of them if none is named")
    arguments.add_argument("--quick", action="store_true", help="smaller: less than two minutes")
    arguments.add_argument("--shape", action="append", type=_shape, help="agents x slots for trees, 4000x4")
    arguments.add_argument("--pairs", type=int, help="how often ours and the yardstick take turns")
    return arguments.parse_args()


def _shape(text: str) -> tuple[int, int]:
    agents, _, slots = text.partition("x")
    return int(agents), int(slots)


if __name__ == "__main__":
    sys.exit(main())
