"""Several values as one figure: their median, and how far they lie apart."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple, Self


class Spread(NamedTuple):
    """Of at least one value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        """`71,400 (68,000–73,900)`; the median alone where there is nothing else."""
        if self.low == self.high:
            return short(self.median)
        return f"{short(self.median)} ({short(self.low)}–{short(self.high)})"


def short(value: float) -> str:
    """Three digits and no more: the rest is chance."""
    if abs(value) >= 999.5:
        digits = len(str(round(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"


def percentile(values: Sequence[float], percent: int) -> float:
    """Of at least one value; between two of them in proportion."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def quantiles(values: Sequence[float], count: int = 100) -> list[float]:
    """The distribution in count + 1 values, from the lowest to the highest: enough to draw it."""
    ordered = sorted(values)
    return [ordered[round(step * (len(ordered) - 1) / count)] for step in range(count + 1)]
