"""Curta and its peers, side by side, for a person to read."""

import statistics
from collections.abc import Sequence

from rich.table import Table

from bench.peers.turns import compared
from bench.report import Row


def table(rows: Sequence[Row]) -> Table:
    """What `measure` gave: medians, with the slowest and the fastest run and the deviation; the ratio by the
    peer's clock, and `in all`, from submission to result. What a peer does not offer stands beside
    its figure.
    """
    made = Table(show_lines=True)
    numbers = ("tasks/s", "Curta", "ratio", "in all")
    for heading in ("peer", "form", *numbers, "wanted", "durable", "dependencies"):
        made.add_column(heading, justify="right" if heading in numbers else "left")
    for row, ours in zip(rows, compared(rows), strict=True):
        more = row.more
        made.add_row(
            more["peer"],
            f"{more['form']}\n{more['tasks']:,} tasks",
            f"{row.ours:,.0f}\n{_spread(row.values)}",
            f"{ours.ours:,.0f}\n{_spread(ours.values)}",
            f"{ours.ratio:.1f}",
            f"{_ratio(more['curta_from_submission'], more['from_submission']):.1f}",
            row.wanted.removeprefix("ratio "),
            more["durable"],
            more["dependencies"],
        )
    return made


def settings(rows: Sequence[Row]) -> list[str]:
    """A line a peer: its versions, how it was run, and from when the seconds count."""
    clocks = {"submission": "from submission to result", "start": "from the first task to the result"}
    lines = {
        row.more["peer"]: ", ".join(f"{name} {version}" for name, version in row.more["versions"].items())
        + f": {row.more['settings']}; ratio {clocks[row.more['clock']]}"
        for row in rows
    }
    return [f"{peer}: {line}" for peer, line in lines.items()]


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    return statistics.median(one / other for one, other in zip(ours, theirs, strict=True))


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return ""
    return f"{min(values):,.0f}–{max(values):,.0f}, ±{statistics.stdev(values) / statistics.mean(values):.0%}"
