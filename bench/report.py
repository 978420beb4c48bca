"""What was measured, as rows, and the rows as tables: for a terminal and for docs/performance.md."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from rich.console import JustifyMethod
from rich.table import Table

from bench import ROOT
from bench.spread import Spread

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
"""Between these lines of the page stands the table that `into` writes."""

HEADINGS = ("figure", "Curta", "beside it", "ratio", "wanted", "note")
NUMBERS = ("Curta", "beside it", "ratio", "in all")

WHY_MAX = 300
"""Characters of what a reader is told of why something was left out; a log is no note."""


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
    columns: dict[str, str] = field(default_factory=dict)
    """What its scenario's table has beside HEADINGS: words by heading."""
    scenario: str = ""
    """Which one measured it; filled in by whoever ran it."""

    @property
    def is_left_out(self) -> bool:
        """Whether nothing was measured; the note says why."""
        return not self.values

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
    def ours(self) -> float | None:
        return None if self.is_left_out else self.spread.median

    @property
    def ratio(self) -> float | None:
        return None if self.ratios is None else self.ratios.median

    def cells(self) -> tuple[str, ...]:
        """As HEADINGS say."""
        if self.is_left_out:
            return self.name, "LEFT OUT", "", "", self.wanted, self.note
        beside = f"{Spread.of(self.beside)} ({self.beside_name})" if self.beside else ""
        ratio = "" if self.ratios is None else str(self.ratios)
        return self.name, f"{self.spread} {self.unit}", beside, ratio, self.wanted, self.note


def tables(rows: Sequence[Row]) -> list[Table]:
    """All figures, for a terminal: one table, and one more for each scenario that has columns of its own."""
    made: list[tuple[Sequence[str], Table]] = []
    for _, (headings, lines) in _scenarios(rows):
        if not made or made[-1][0] != headings:
            made.append((headings, Table(show_lines=len(headings) > len(HEADINGS))))
            for heading in headings:
                side: JustifyMethod = "right" if heading in NUMBERS else "left"
                made[-1][1].add_column(heading, justify=side, overflow="fold")
        for line in lines:
            made[-1][1].add_row(*line)
        made[-1][1].add_section()
    return [one for _, one in made]


def markdown(rows: Sequence[Row], introduction: str) -> str:
    """All figures, for the page: `introduction`, then a table for each scenario."""
    return "\n".join((introduction, *_tables(rows)))


def _tables(rows: Sequence[Row]) -> Iterator[str]:
    for scenario, (headings, cells) in _scenarios(rows):
        yield f"\n### {scenario.capitalize()}\n"
        # Columns that nobody fills are left out.
        filled = [place for place in range(len(headings)) if any(row[place] for row in cells)]
        yield _line(headings, filled)
        yield _line(["---"] * len(headings), filled)
        yield from (_line(row, filled) for row in cells)


def _scenarios(rows: Sequence[Row]) -> Iterator[tuple[str, tuple[list[str], list[list[str]]]]]:
    """Scenario by scenario, its headings and its lines."""
    for scenario, group in groupby(rows, lambda row: row.scenario):
        some = list(group)
        own = list(dict.fromkeys(heading for row in some for heading in row.columns))
        lines = [[*row.cells(), *(row.columns.get(heading, "") for heading in own)] for row in some]
        yield scenario, ([*HEADINGS, *own], lines)


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


def left_out(name: str, why: str | BaseException, wanted: str = "") -> Row:
    """In the place of a figure that could not be measured; says so loudly. Where the repository is stands not
    in it."""
    said = " ".join((str(why) or type(why).__name__).replace(f"{ROOT}/", "").split())
    row = Row(name, "", [], wanted, note=said if len(said) <= WHY_MAX else f"{said[:WHY_MAX]} …")
    loud(f"LEFT OUT: {name}: {said}")
    return row


def tell(sentence: str) -> None:
    """What is done now, where it takes long."""
    sys.stderr.write(f"{sentence}\n")
    sys.stderr.flush()


def loud(sentence: str) -> None:
    """Something was not measured, or not as it should be: nobody shall overlook it."""
    tell(f"\n!!! {sentence}\n")
