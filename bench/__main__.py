"""`python -m bench [--quick] [scenario …]`: measure, print and keep every value; compare; write the page."""

import argparse
import asyncio
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import ROOT, comparison, machine, plots, report, results
from bench.peers.peer import PEERS
from bench.rig import rig
from bench.scenarios import QUICK, RIGS, SCENARIOS
from bench.sizes import QUICK as QUICK_SIZES
from bench.sizes import Sizes

DOCS = ROOT / "docs"


def main() -> int:
    """0; 1 where something became slower than in the run that it is compared with; 2 where one failed."""
    chosen = _arguments()
    # As Ctrl-C: every `with` block ends what it began.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # A file or a pipe has no width of its own.
    console = Console() if sys.stdout.isatty() else Console(width=160)
    earlier = results.decode(chosen.against.read_text()) if chosen.against else None
    failed: list[str] = []
    if chosen.read:
        found = results.decode(chosen.read.read_text())
    else:
        found, failed = _measure(chosen, console)
        path = results.save(found)
        console.print(f"every value is in {path.relative_to(ROOT)}", style="dim")
    for table in report.tables(found.rows):
        console.print(table)
    console.print(f"Medians, and from where to where the runs went. {machine.sentence(found.machine)}.")
    if chosen.docs:
        _document(found)
    is_slower = False
    if earlier is not None:
        lines, is_slower = comparison.report(earlier, found)
        console.print("\n".join(lines), highlight=False)
    # Once more, where nobody overlooks it.
    for row in found.rows:
        if row.is_left_out:
            report.loud(f"LEFT OUT: {row.name}: {row.note}")
    if failed:
        return 2
    return int(is_slower)


def _measure(chosen: argparse.Namespace, console: Console) -> tuple[results.Results, list[str]]:
    """What was measured, and which scenarios failed: their reason is told, and the others go on."""
    sizes = QUICK_SIZES if chosen.quick else Sizes()
    if chosen.shape:
        sizes = replace(sizes, shapes=tuple(chosen.shape))
    if chosen.runs:
        sizes = replace(sizes, runs=chosen.runs, long_runs=chosen.runs)
    if chosen.peer:
        sizes = replace(sizes, peers=tuple(chosen.peer))
    wanted = chosen.scenario or (QUICK if chosen.quick else tuple(SCENARIOS))
    at, described = results.now(), machine.describe()
    rows: list[report.Row] = []
    failed: list[str] = []
    for together in RIGS:
        names = [name for name in together if name in wanted]
        while names:
            with rig() as place:
                while names:
                    name = names.pop(0)
                    began = time.monotonic()
                    try:
                        measured = asyncio.run(SCENARIOS[name](place, sizes))
                    except Exception as error:
                        traceback.print_exc()
                        failed.append(name)
                        why = f"it failed: {type(error).__name__}: {error}"
                        rows.append(replace(report.left_out(name, why), scenario=name))
                        break  # nobody knows what it left behind: the rest gets a rig of its own
                    rows += [replace(row, scenario=name) for row in measured]
                    console.print(f"measured: {name}, {time.monotonic() - began:.0f} s", style="dim")
    order = list(SCENARIOS)
    rows.sort(key=lambda row: order.index(row.scenario))
    return results.Results(at, chosen.quick, described, rows), failed


def _document(found: results.Results) -> None:
    """The tables into docs/performance.md, the drawings beside it."""
    page = DOCS / "performance.md"
    how = "sizes of `QUICK=1`, " if found.is_quick else ""
    introduction = f"{machine.sentence(found.machine)}; {how}{found.at[:10]}."
    drawn = plots.draw(found.rows, DOCS / "performance")
    images = "".join(f"\n\n![{path.stem}]({path.relative_to(DOCS)})" for path in drawn)
    page.write_text(report.into(page.read_text(), report.markdown(found.rows, introduction) + images))


def _arguments() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    add = arguments.add_argument
    add("scenario", nargs="*", choices=[[], *SCENARIOS], help="all of them if none is named")
    add("--quick", action="store_true", help="smaller, and fewer: less than two minutes")
    add("--shape", action="append", type=_shape, help="agents x slots for trees, 4000x4")
    add("--peer", action="append", choices=list(PEERS), help="for peers: this one, not all")
    add("--runs", type=int, help="how often each is measured")
    add("--against", type=Path, metavar="JSON", help="an earlier run to compare with")
    add("--from", type=Path, metavar="JSON", dest="read", help="an earlier run to show: nothing is measured")
    add("--docs", action="store_true", help="write the tables and drawings into docs/")
    return arguments.parse_args()


def _shape(text: str) -> tuple[int, int]:
    agents, _, slots = text.partition("x")
    return int(agents), int(slots)


if __name__ == "__main__":
    sys.exit(main())
