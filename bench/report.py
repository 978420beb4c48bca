"""What was measured, as rows, and the rows as tables: for a terminal and for docs/performance.md."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rich.table import Table

from bench.spread import Spread

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Between these lines of the page stands the table that `into` writes."""

HEADINGS = ("figure", "Curta", "beside it", "ratio", "wanted", "note")


@dataclass
class Row:
    """One figure: several values of the same thing.

    `beside` are those of what was measured in turns with ours, pair by pair, and `beside_name` is what that
    was. `wanted` says what is to be reached: by our median, or, where something stands beside it, by the
    ratio. Rates, whose unit ends in `/s`, are better when higher, everything else when lower.
    """

    name: str
    unit: str
    values: Sequence[float]
    wanted: str = ""
    beside: Sequence[float] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)
    """Whatever else was seen; goes into the JSON and the plots only."""
    note: str = ""
    """What a reader has to know beside the figure, in a few words."""
    beside_name: str = "ceiling"
    is_watched: bool = True
    """Whether a comparison with an earlier run counts it: not what is the machine's or others' doing."""
    scenario: str = ""
    """Which one measured it; filled in by whoever ran it."""

    @property
    def is_rate(self) -> bool:
        return self.unit.endswith("/s")

    @property
    def spread(self) -> Spread:
        return Spread.of(self.values)

    @property
    def ratios(self) -> Spread | None:
        """Of the pairs: ours to what stands beside it."""
        if not self.beside:
            return None
        pairs = zip(self.values, self.beside, strict=True)
        return Spread.of([ours / theirs for ours, theirs in pairs])

    @property
    def ours(self) -> float:
        return self.spread.median

    @property
    def ratio(self) -> float | None:
        return None if self.ratios is None else self.ratios.median

    def cells(self) -> tuple[str, ...]:
        """As HEADINGS say."""
        beside = f"{Spread.of(self.beside)} ({self.beside_name})" if self.beside else ""
        ratio = "" if self.ratios is None else str(self.ratios)
        return self.name, f"{self.spread} {self.unit}", beside, ratio, self.wanted, self.note


def table(rows: Sequence[Row]) -> Table:
    """All figures, for a terminal."""
    made = Table()
    for heading in HEADINGS:
        made.add_column(heading, justify="right" if heading in ("Curta", "beside it", "ratio") else "left")
    for _, group in groupby(rows, lambda row: row.scenario):
        for row in group:
            made.add_row(*row.cells())
        made.add_section()
    return made


def markdown(rows: Sequence[Row], introduction: str) -> str:
    """All figures, for the page: `introduction`, then a table for each scenario."""
    return "\n".join((introduction, *_tables(rows)))


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    for scenario, group in groupby(rows, lambda row: row.scenario):
        yield f"\n### {scenario.capitalize()}\n"
        cells = [row.cells() for row in group]
        # Columns that nobody fills are left out.
        filled = [place for place in range(len(HEADINGS)) if any(row[place] for row in cells)]
        yield _line(HEADINGS, filled)
        yield _line(["---"] * len(HEADINGS), filled)
        yield from (_line(row, filled) for row in cells)


def _line(cells: Sequence[str], places: Sequence[int]) -> str:
    return "| " + " | ".join(cells[place].replace("|", "\\|") for place in places) + " |"


def into(page: str, tables: str) -> str:
    """The page with these tables in the place of those that stand between BEGIN and END.

    Raises: ValueError where the page has no such place.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN} and {END}")
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def loud(sentence: str) -> None:
    """Something was not measured, or not as it should be: nobody shall overlook it."""
    sys.stderr.write(f"\n!!! {sentence}\n\n")
    sys.stderr.flush()
