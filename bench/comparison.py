"""What became slower since an earlier run.

A figure with something beside it is compared by its ratio, which carries over from one hour and machine to
another; the others by their medians.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.machine import is_same
from bench.report import Row
from bench.results import Results
from bench.spread import Spread, short

SLOWER = 1.15
"""So many times as slow, or as dear, as before is named."""


class Change(NamedTuple):
    """A figure of both runs. `factor` is how many times as slow it is now; below 1 it became faster."""

    name: str
    unit: str
    before: Spread
    now: Spread
    factor: float

    @property
    def is_doubtful(self) -> bool:
        """Whether runs of then and of now lie among each other: it may be the machine's other work."""
        return max(self.before.low, self.now.low) <= min(self.before.high, self.now.high)

    def __str__(self) -> str:
        if self.factor > 1:
            words = f"{short(self.factor)} times as slow"
        else:
            words = f"{short(1 / self.factor) if self.factor else 'infinitely many'} times as fast"
        doubt = "; runs overlap, measure again" if self.is_doubtful else ""
        return f"{self.name}: {self.before} {self.unit} before, {self.now} now: {words}{doubt}"


def changes(before: Sequence[Row], now: Sequence[Row]) -> list[Change]:
    """All watched figures that are in both, those that suffered most first."""
    known = {row.name: row for row in before if not row.is_left_out}
    measured = [row for row in now if row.is_watched and not row.is_left_out]
    found = [_change(known[row.name], row) for row in measured if row.name in known]
    return sorted(found, key=lambda change: -change.factor)


def _change(before: Row, now: Row) -> Change:
    was, has, unit = before.spread, now.spread, now.unit
    if before.ratios is not None and now.ratios is not None:
        was, has, unit = before.ratios, now.ratios, f"of {now.beside_name}"
    dear, cheap = (was.median, has.median) if now.is_rate else (has.median, was.median)
    if dear == cheap:
        factor = 1.0
    else:
        factor = dear / cheap if cheap else math.inf
    return Change(now.name, unit, was, has, factor)


def report(before: Results, now: Results) -> tuple[list[str], bool]:
    """Lines for people, and whether anything became slower by more than 15%."""
    found = changes(before.rows, now.rows)
    slower = [change for change in found if change.factor > SLOWER]
    faster = [change for change in found if change.factor < 1 / SLOWER]
    lines = [f"Compared with the run of {before.at} ({before.machine.get('commit', 'unknown')}):"]
    if before.is_quick != now.is_quick:
        lines.append("One of the runs is quick, and the other is not: sizes differ.")
    if not is_same(before.machine, now.machine):
        lines.append("It ran on another machine: only ratios can be compared.")
    known = {row.name for row in before.rows if not row.is_left_out}
    gone = [row for row in now.rows if row.is_left_out and row.name in known]
    lines += [f"  left out now  {row.name}: {row.note}" for row in gone]
    lines += [f"  slower  {change}" for change in slower]
    lines += [f"  faster  {change}" for change in reversed(faster)]
    lines.append(f"{len(slower)} of {len(found)} figures became slower by more than 15%.")
    return lines, bool(slower)
